"""Whether a finished set is as it was written: every checksum, recomputed.

Of tars of others there are none but the CRC-32 of every picture.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from pipeline.errors import BadInput
from pipeline.foreign import KIND
from pipeline.index import MEMBERS, SAMPLES, ShardEntry, file_sha256, idx_name, load_index
from pipeline.reader import ShardSet
from pipeline.remote.place import Place, Remote

AT_ONCE = 8  # files: hashing leaves Python's lock, and the answers of a store are waited for

Expected = tuple[str, str]
"""A file's name and its SHA-256."""


def verify(folder: Place) -> list[str]:
    """One line for each file of a set that is missing or is not as it was written."""
    index = load_index(folder)
    tables = [(SAMPLES, index.samples_sha256), (MEMBERS, index.members_sha256)]
    found = faults(folder, [*(table for table in tables if table[1]), *files_of(index.shards)])
    if found or isinstance(folder, Remote) or index.options.get("kind") != KIND:
        return found
    return damaged_pictures(ShardSet(folder))


def damage(folder: Place, shards: Iterable[ShardEntry]) -> list[str]:
    """The same for some shards and the indices beside them."""
    return faults(folder, list(files_of(shards)))


def files_of(shards: Iterable[ShardEntry]) -> Iterable[Expected]:
    for shard in shards:
        files = (shard.name, shard.sha256), (idx_name(shard.name), shard.idx_sha256)
        yield from (file for file in files if file[1])


def faults(folder: Place, expected: list[Expected]) -> list[str]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = threads.map(lambda file: fault(folder / file[0], file[1]), expected)
        bar = tqdm(found, desc="verifying", total=len(expected), unit="file", disable=None, leave=False)
        return [line for line in bar if line]


def fault(path: Place, sha256: str) -> str:
    try:
        got = file_sha256(path)
    except FileNotFoundError:
        return f"{path}: missing"
    return "" if got == sha256 else f"{path}: SHA-256 is {got}, the index says {sha256}"


def damaged_pictures(shards: ShardSet) -> list[str]:
    """One line for each picture that is not as it was when it was indexed."""

    def line(sample: int) -> str:
        try:
            shards.read(sample)
        except BadInput as error:
            what, where, got, wanted, _ = error.args
            return f"{where}: {what}, {got}, the index says {wanted}"
        return ""

    bar = tqdm(range(len(shards)), desc="verifying", unit="picture", disable=None, leave=False)
    return [found for sample in bar if (found := line(sample))]
