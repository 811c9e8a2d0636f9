"""One shard of realisations: scenes -> a tar, its DALI index and its rows of the two tables, each whole or absent."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.index import MEMBER, MEMBERS, SAMPLES, SCENE, LeftOut, crc32, file_sha256
from pipeline.remote import Place
from pipeline.sharding.scene_plan import SceneJob
from pipeline.sharding.shard_writer import ShardResult, Tables, Written, load_result
from pipeline.sharding.statistics import Levels, describe_scenes
from pipeline.sharding.storage import as_npy, edges
from pipeline.sharding.tar_writer import TarWriter, tar_header

DTYPES = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<f2"), np.dtype("<f4"))
REFERENCE = "reference"
MEMBERS_SUFFIX = ".members.npy"


@dataclass(frozen=True)
class Realisations:
    """One sample of a set of realisations: the same thing K times, each with its own noise."""

    buffers: dict[str, list[NDArray[Any]]]
    """By name, such as color or albedo: K arrays each of (C, H, W), uint8, uint16, float16 or float32. What belongs
    to realisation i of one buffer is realisation i of the others."""
    reference: NDArray[Any] | None = None
    """The same without noise, where it is known: for validation alone."""
    about: dict[str, Any] = field(default_factory=dict)
    """What KEY.json says; `realisations`, `width` and `height` are added."""

    @property
    def count(self) -> int:
        return len(next(iter(self.buffers.values())))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = next(iter(self.buffers.values()))[0].shape[1:]
        return height, width

    def __post_init__(self) -> None:
        """Raises BadInput where it is no sample: of another shape, type, or number of realisations."""
        where = self.about.get("source", "a scene")
        if not self.buffers or len({len(arrays) for arrays in self.buffers.values()}) != 1 or not self.count:
            counts = {name: len(arrays) for name, arrays in self.buffers.items()}
            raise BadInput("not a set of realisations", where, str(counts), "every buffer equally often")
        for name, _, array in self.members():
            if not re.fullmatch("[a-z][a-z0-9_]{0,15}", name) or name == "json":
                raise BadInput("a buffer of an unfit name", where, name, "small letters, digits and _, at most 16")
            if array.ndim != 3 or array.shape[1:] != self.size or array.dtype not in DTYPES:
                wanted = f"(C, {self.size[0]}, {self.size[1]}) of uint8, uint16, float16 or float32"
                raise BadInput(f"a {name} buffer that does not fit", where, f"{array.dtype} {array.shape}", wanted)

    def members(self) -> list[tuple[str, int | None, NDArray[Any]]]:
        """Buffer, realisation (None for the reference) and pixels of every array."""
        found: list[tuple[str, int | None, NDArray[Any]]] = [
            (name, number, array) for name, arrays in self.buffers.items() for number, array in enumerate(arrays)
        ]
        return found + ([(REFERENCE, None, self.reference)] if self.reference is not None else [])

    def cut(self, side: int) -> "list[Realisations]":
        """As tiles of at most `side` pixels, the same of every array; 0, or a side that is large enough: as it is."""
        height, width = self.size
        if not side or max(height, width) <= side:
            return [self]
        rows, columns = edges(height, side), edges(width, side)
        return [self._tile(slice(*row), slice(*column)) for row in rows for column in columns]

    def _tile(self, rows: slice, columns: slice) -> "Realisations":
        buffers = {name: [array[:, rows, columns] for array in arrays] for name, arrays in self.buffers.items()}
        reference = None if self.reference is None else self.reference[:, rows, columns]
        return Realisations(buffers, reference, {**self.about, "tile": [rows.start, columns.start]})


def write_scenes(job: SceneJob[Any], out: Place, work: Place) -> ShardResult:
    """Write a shard, or find it finished by an earlier run; either way the same bytes and the same result."""
    finished = load_result(job.name, out, work)
    if finished is not None:
        return finished
    rows = SceneRows()
    left_out: list[LeftOut] = []
    with write_whole(out / job.name) as file, TarWriter(file) as tar:
        for number, scene in enumerate(job.scenes, job.first_key):
            samples = job.load(scene)
            if isinstance(samples, LeftOut):
                left_out.append(samples)
                continue
            for part, sample in enumerate(samples):
                rows.append(tar, f"{number:09d}" + (f"_{part:04d}" if len(samples) > 1 else ""), sample)
        sha256, size = tar.finish(), tar.size
    tables = {".npy": np.array(rows.scenes, SCENE), MEMBERS_SUFFIX: np.array(rows.members, MEMBER)}
    return Written(job.name, size, sha256, rows.dali).finish(out, work, tables, left_out, Levels())


@dataclass
class SceneRows:
    """The samples of a shard so far: rows of the tables and lines of the DALI index."""

    scenes: list[tuple[int, ...]] = field(default_factory=list)
    members: list[tuple[Any, ...]] = field(default_factory=list)
    dali: list[str] = field(default_factory=list)

    def append(self, tar: TarWriter, key: str, sample: Realisations) -> None:
        """Write one sample's members, sorted by extension as webdataset's own writer does."""
        height, width = sample.size
        about = {**sample.about, "realisations": sample.count, "width": width, "height": height}
        row = (len(self.members), len(sample.members()) + 1, 0, height, width, sample.count)
        self.scenes.append((*row, int(sample.reference is not None)))
        files: dict[str, tuple[str, int, NDArray[Any] | None]] = {"json": ("json", 0, None)}
        for name, number, array in sample.members():
            files[f"{name}.npy" if number is None else f"{name}.{number}.npy"] = (name, number or 0, array)
        parts = []
        for extension in sorted(files):
            name, number, stored = files[extension]
            data = json.dumps(about).encode() if stored is None else as_npy(stored)
            header = tar_header(f"{key}.{extension}", len(data))
            offset = tar.add(header, data)
            parts.append(f"{extension} {offset} {len(data)} {key}.{extension}")
            dtype, channels = ("", 0) if stored is None else (stored.dtype.str, len(stored))
            self.members.append((offset, len(data), crc32(data, crc32(header)), number, name, dtype, channels, 0))
        self.dali.append(" ".join(parts))


def gather_scenes(results: list[ShardResult], out: Place, work: Place) -> Tables:
    """The shards' tables as those of the set."""
    scenes, members, before = [], [], 0
    for number, result in enumerate(results):
        table = result.load_table(work)
        table["shard"] = number
        table["first"] += before
        scenes.append(table)
        members.append(result.load_table(work, MEMBERS_SUFFIX))
        before += len(members[-1])
    for name, tables in ((SAMPLES, scenes), (MEMBERS, members)):
        with write_whole(out / name) as file:
            np.save(file, np.concatenate(tables))
    statistics = describe_scenes(np.concatenate(scenes), np.concatenate(members))
    return Tables(file_sha256(out / SAMPLES), statistics, file_sha256(out / MEMBERS))
