"""One shard of realisations: scenes -> a tar, its DALI index and its rows of the two tables, each whole or absent."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import write_whole
from pipeline.index import MEMBER, MEMBERS, SAMPLES, SCENE, LeftOut, file_sha256
from pipeline.remote.place import Place
from pipeline.sharding.realisations import Realisations
from pipeline.sharding.scene_plan import SceneJob
from pipeline.sharding.shard_writer import ShardResult, Tables, Written, load_result
from pipeline.sharding.statistics import Levels, describe_scenes
from pipeline.sharding.storage import as_npy
from pipeline.sharding.tar_writer import TarWriter, tar_header

MEMBERS_SUFFIX = ".members.npy"


def write_scenes(job: SceneJob[Any], out: Place, work: Place, aside: bool) -> ShardResult:
    """Write a shard, or find it finished by an earlier run; either way the same bytes and the same result.

    `aside` has another process hash it.
    """
    finished = load_result(job.name, out, work)
    if finished is not None:
        return finished
    rows = SceneRows()
    left_out: list[LeftOut] = []
    with write_whole(out / job.name) as file, TarWriter(file, aside=aside) as tar:
        for number, scene in enumerate(job.scenes, job.first_key):
            samples = job.load(scene)
            if isinstance(samples, LeftOut):
                left_out.append(samples)
                continue
            for part, sample in enumerate(samples):
                rows.append(tar, f"{number:09d}" + (f"_{part:04d}" if len(samples) > 1 else ""), sample)
        sha256, size = tar.finish(), tar.size
    members = np.array(rows.members, MEMBER)
    members["crc32"] = tar.checksums
    tables = {".npy": np.array(rows.scenes, SCENE), MEMBERS_SUFFIX: members}
    return Written(job.name, size, sha256, rows.dali).finish(out, work, tables, left_out, Levels())


@dataclass
class SceneRows:
    """The samples of a shard so far: rows of the tables but for their checksums, and lines of the DALI index."""

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
            offset = tar.add(tar_header(f"{key}.{extension}", len(data)), data)
            parts.append(f"{extension} {offset} {len(data)} {key}.{extension}")
            dtype, channels = ("", 0) if stored is None else (stored.dtype.str, len(stored))
            self.members.append((offset, len(data), 0, number, name, dtype, channels, 0))
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
