"""What a shard set says about itself: index.json for people and tools, samples.npy for random access.

index.json is a shard list as wids reads it (wids_version, shardlist) with our own fields beside it. Each shard has
an .idx of NVIDIA DALI's webdataset reader beside its tar. samples.npy holds the same offsets for all shards as one
table that is mapped into memory, so that opening a set costs nothing and workers share its pages.
"""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import write_whole
from pipeline.errors import BadInput

FORMAT_VERSION = 1
INDEX = "index.json"
SAMPLES = "samples.npy"

SAMPLE = np.dtype(
    [
        ("offset", "<u8"),  # of the picture's bytes in the tar; its tar header is the 512 bytes before
        ("size", "<u8"),
        ("shard", "<u4"),
        ("crc32", "<u4"),  # of the picture's bytes
        ("height", "<u4"),
        ("width", "<u4"),
    ]
)


@dataclass(frozen=True)
class ShardEntry:
    """One shard of the set."""

    name: str
    samples: int
    bytes: int
    sha256: str
    idx_sha256: str
    """Of the DALI index beside it."""


@dataclass(frozen=True)
class LeftOut:
    """A source file that is not in the set, and why."""

    source: str
    reason: str


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

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    def save(self, folder: Path) -> None:
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
            "options": self.options,
            "versions": self.versions,
            "statistics": self.statistics,
            "left_out": [asdict(entry) for entry in self.left_out],
        }
        with write_whole(folder / INDEX) as file:
            file.write(json.dumps(document, indent=1).encode() + b"\n")


def load_index(folder: Path) -> Index:
    """Read index.json. Raises BadInput where there is none, or none that this version reads."""
    path = folder / INDEX
    if not path.is_file():
        raise BadInput(
            "not a finished shard set",
            where=folder,
            got="no index.json" if folder.is_dir() else "no such folder",
            wanted="the output folder of `n2n shard`",
            todo="check the path; if sharding was stopped, run the same `n2n shard` command again to finish it",
        )
    try:
        document = json.loads(path.read_bytes())
        version = document["n2n_version"]
        names = ("url", "nsamples", "filesize", "sha256", "idx_sha256")
        shards = [ShardEntry(*(entry[name] for name in names)) for entry in document["shardlist"]]
        left_out = [LeftOut(**entry) for entry in document["left_out"]]
        fields = [document[name] for name in ("samples_sha256", "options", "versions", "statistics")]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "the index is damaged",
            path,
            f"{type(error).__name__}: {error}",
            "an index.json of `n2n shard`",
            REMAKE,
        ) from error
    if version != FORMAT_VERSION:
        raise BadInput("an index of another version", path, f"version {version}", f"version {FORMAT_VERSION}", REMAKE)
    return Index(shards, fields[0], fields[1], fields[2], fields[3], left_out)


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


def load_samples(folder: Path, expected: int) -> NDArray[np.void]:
    """Map samples.npy into memory. Raises BadInput where it is missing, damaged or of another set."""
    path = folder / SAMPLES
    try:
        table = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise BadInput("the sample table cannot be read", path, str(error), f"{expected} samples", REMAKE) from error
    if table.dtype != SAMPLE or table.shape != (expected,):
        got = f"{table.shape[0] if table.ndim else 0} rows of {table.dtype}"
        raise BadInput("the sample table does not fit its index", path, got, f"{expected} samples", REMAKE)
    return np.asarray(table) if expected == 0 else table
