"""Whether a finished set is as it was written: every checksum, recomputed."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from pipeline.index import MEMBERS, SAMPLES, ShardEntry, file_sha256, idx_name, load_index
from pipeline.remote import Place

AT_ONCE = 8  # files: hashing leaves Python's lock, and the answers of a store are waited for

Expected = tuple[str, str]
"""A file's name and its SHA-256."""


def verify(folder: Place) -> list[str]:
    """One line for each file of a set that is missing or is not as it was written."""
    index = load_index(folder)
    tables = [(SAMPLES, index.samples_sha256), (MEMBERS, index.members_sha256)]
    return faults(folder, [*(table for table in tables if table[1]), *files_of(index.shards)])


def damage(folder: Place, shards: Iterable[ShardEntry]) -> list[str]:
    """The same for some shards and the indices beside them."""
    return faults(folder, list(files_of(shards)))


def files_of(shards: Iterable[ShardEntry]) -> Iterable[Expected]:
    for shard in shards:
        yield shard.name, shard.sha256
        yield idx_name(shard.name), shard.idx_sha256


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
