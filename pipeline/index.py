"""What a shard set says about itself: index.json for people and tools, samples.npy for random access.

index.json is a shard list as wids reads it (wids_version, shardlist) with our own fields beside it. Each shard has
an .idx of NVIDIA DALI's webdataset reader beside its tar. samples.npy holds the same offsets for all shards as one
table that is mapped into memory, so that opening a set costs nothing and workers share its pages.
"""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.remote.place import Place

FORMAT_VERSION = 1
INDEX = "index.json"
SAMPLES = "samples.npy"
MEMBERS = "members.npy"
HASHED_WHOLE = 1 << 26  # bytes: the tables of sets of up to 1.6 million samples
SMALL = 4096  # bytes below which zlib's own CRC-32 is the faster one: it keeps Python's lock

SAMPLE = np.dtype(
    [
        ("offset", "<u8"),  # of the picture's bytes in the tar; its tar header is the 512 bytes before
        ("size", "<u8"),
        ("shard", "<u4"),
        ("crc32", "<u4"),  # of the picture's tar header and its bytes
        ("height", "<u4"),
        ("width", "<u4"),
        ("channels", "u1"),
        ("bits", "u1"),  # of a channel: 8 or 16
        ("decoded", "<u2"),  # 1 where the bytes are a .npy of (C, H, W), 0 where they are a picture file
    ]
)

# Sets of realisations: samples.npy has a row of this kind for each sample, members.npy one for each of its files.
SCENE = np.dtype(
    [
        ("first", "<u8"),  # row of its first member; its members are consecutive, in the order of the tar
        ("members", "<u4"),
        ("shard", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("realisations", "<u4"),
        ("reference", "<u4"),  # 1 where it has one
    ]
)

MEMBER = np.dtype(
    [
        ("offset", "<u8"),  # as above
        ("size", "<u8"),
        ("crc32", "<u4"),
        ("realisation", "<u4"),
        ("buffer", "S16"),  # color, reference, albedo, ...; json for what is said of the sample
        ("dtype", "S8"),  # of the (C, H, W) .npy, as numpy writes it: |u1, <u2, <f2 or <f4
        ("channels", "<u4"),
        ("unused", "<u4"),
    ]
)


@dataclass(frozen=True)
class ShardEntry:
    """One shard of the set."""

    name: str
    samples: int
    bytes: int
    sha256: str
    """Empty where the shard is a tar of others."""
    idx_sha256: str
    """Of the DALI index beside it; empty where there is none."""


@dataclass(frozen=True)
class LeftOut:
    """A source file that is not in the set, and why."""

    source: str
    kind: str
    """unreadable, unsafe, small, empty or duplicate; of scenes and renders, unpaired, audit or spare; of tars that
    others wrote, pictureless or several."""
    reason: str


def shown(entry: LeftOut) -> str:
    """One line for a terminal, whatever characters the name has."""
    return f"{printable(entry.source)}: {entry.reason}"


def printable(text: str) -> str:
    """Line breaks, control characters and bytes that are no text, as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Index:
    """The contents of index.json."""

    shards: list[ShardEntry]
    samples_sha256: str
    """Of samples.npy."""
    options: dict[str, Any]
    """What the set was made with; the same options and sources give the same bytes."""
    versions: dict[str, str]
    statistics: dict[str, Any]
    left_out: list[LeftOut]
    members_sha256: str = ""
    """Of members.npy, where this is a set of realisations; sets of single pictures have none."""

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    def save(self, folder: Place) -> None:
        """Write index.json, the commit point of a set: whole or absent."""
        document = {
            "wids_version": 1,
            "n2n_version": FORMAT_VERSION,
            "samples": self.samples,
            "bytes": sum(shard.bytes for shard in self.shards),
            "shardlist": [
                {
                    "url": shard.name,
                    "nsamples": shard.samples,  # as wids spells it
                    "samples": shard.samples,
                    "filesize": shard.bytes,
                    "sha256": shard.sha256,
                    "idx_sha256": shard.idx_sha256,
                }
                for shard in self.shards
            ],
            "samples_sha256": self.samples_sha256,
            **({"members_sha256": self.members_sha256} if self.members_sha256 else {}),
            "options": self.options,
            "versions": self.versions,
            "statistics": self.statistics,
            "left_out": [asdict(entry) for entry in self.left_out],
        }
        document["index_sha256"] = document_sha256(document)
        with write_whole(folder / INDEX) as file:
            file.write(json.dumps(document, indent=1).encode() + b"\n")


def document_sha256(document: dict[str, Any]) -> str:
    """Of everything that index.json says, but this sum itself."""
    said = {name: value for name, value in document.items() if name != "index_sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def load_index(folder: Place) -> Index:
    """Read index.json. Raises BadInput where there is none, or none that this version reads."""
    path = folder / INDEX
    if not path.is_file():
        raise BadInput(
            "not a finished shard set",
            where=folder,
            got="no index.json" if folder.is_dir() else "no such folder",
            wanted="the output folder of `n2n shard`, or one of WebDataset tars",
            todo="check the path; if sharding was stopped, run the same `n2n shard` command again to finish it",
        )
    try:
        document = json.loads(path.read_bytes())
        version = document["n2n_version"]
        if version != FORMAT_VERSION:
            wanted = f"version {FORMAT_VERSION}"
            raise BadInput("an index of another version", path, f"version {version}", wanted, REMAKE)
        names = ("url", "nsamples", "filesize", "sha256", "idx_sha256")
        shards = [ShardEntry(*(entry[name] for name in names)) for entry in document["shardlist"]]
        left_out = [LeftOut(**entry) for entry in document["left_out"]]
        fields = [document[name] for name in ("samples_sha256", "options", "versions", "statistics")]
        if document["index_sha256"] != document_sha256(document):
            raise ValueError("its own checksum does not fit what it says")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            "the index is damaged",
            path,
            f"{type(error).__name__}: {error}",
            "an index.json of `n2n shard`",
            REMAKE,
        ) from error
    return Index(shards, fields[0], fields[1], fields[2], fields[3], left_out, document.get("members_sha256", ""))


REMAKE = "take it from a backup, or delete the folder and run `n2n shard` again"


def idx_name(shard: str) -> str:
    """The name of a shard's DALI index."""
    return shard.removesuffix(".tar") + ".idx"


def library_versions(*names: str) -> dict[str, str]:
    """The installed versions of libraries, to be kept with what they made."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # such as this project itself, run from its folder without installation
            versions[name] = "not installed"
    return versions


def file_sha256(path: Place) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def crc32(data: bytes | memoryview, before: int = 0) -> int:
    """CRC-32 as zlib has it, going on from `before`; three times as fast where it is long."""
    if len(data) < SMALL:
        return zlib.crc32(data, before)
    return int(imagecodecs.deflate_crc32(data, before))  # type: ignore[arg-type]  # takes any buffer


def load_samples(folder: Path, index: Index) -> NDArray[np.void]:
    """Map samples.npy into memory. Raises BadInput where it is missing, damaged or of another set.

    Above HASHED_WHOLE bytes its SHA-256 is left to `verify`: of 400 million samples it would read 16 GB at every start
    of every rank. The reader then relies on what it does with every row in any case, when it first uses it: what the
    row points to has the row's CRC-32 and says the same of itself as the row.
    """
    path = folder / SAMPLES
    if not path.is_file() or path.stat().st_size <= HASHED_WHOLE:
        return load_table(path, index.samples_sha256)
    try:
        table = map_table(path)
        if table.dtype != SAMPLE or table.shape != (index.samples,):
            raise ValueError(f"a table of {table.shape} rows of {table.dtype.itemsize} bytes")
    # What numpy makes of a damaged header it answers with ValueError, TokenError, OverflowError and others.
    except Exception as error:
        raise BadInput("the sample table is damaged", path, str(error), "the table of this set", REMAKE) from error
    return table


def load_table(path: Path, wanted: str) -> NDArray[np.void]:
    """Map a table into memory. Raises BadInput where it is missing, damaged or of another set."""
    try:
        sha256 = file_sha256(path)
        if sha256 != wanted:  # before it is parsed: a damaged table can say anything
            raise ValueError(f"its SHA-256 is {sha256}, the index says {wanted}")
        return map_table(path)
    except (OSError, ValueError) as error:
        raise BadInput("the sample table is damaged", path, str(error), "the table of this set", REMAKE) from error


def map_table(path: Path) -> NDArray[np.void]:
    """Map a table of a set that has been checked."""
    table: NDArray[np.void] = np.load(path, mmap_mode="r")
    return table
