"""One shard: pictures -> a tar, its DALI index and its rows of the sample table, each whole or absent."""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.index import REMAKE, SAMPLE, SAMPLES, LeftOut, ShardEntry, file_sha256, idx_name
from pipeline.remote.place import Place
from pipeline.sharding.ingest import DIGEST, Sample
from pipeline.sharding.plan import Job
from pipeline.sharding.read_ahead import ReadAhead, Result
from pipeline.sharding.read_in_place import headers_alone, read_in_place
from pipeline.sharding.statistics import Levels, describe_table
from pipeline.sharding.storage import PIXELS, StorageConfig
from pipeline.sharding.tar_writer import BLOCK, TarWriter, padded, tar_header

DALI_INDEX_VERSION = "v1.2"
SHA256_KEY = b'"sha256": "'


@dataclass(frozen=True)
class Tables:
    """What the tables of a set, once written, leave for its index."""

    samples_sha256: str
    statistics: dict[str, Any]
    members_sha256: str = ""


@dataclass(frozen=True)
class ShardResult:
    """What a finished shard leaves for the index."""

    entry: ShardEntry
    left_out: list[LeftOut]
    levels: Levels

    def load_table(self, work: Place, suffix: str = ".npy") -> NDArray[np.void]:
        table: NDArray[np.void] = np.load(io.BytesIO((work / f"{self.entry.name}{suffix}").read_bytes()))
        return table

    def save(self, record: Place) -> None:
        document = {
            "entry": asdict(self.entry),
            "left_out": [asdict(lost) for lost in self.left_out],
            "levels": self.levels.counts.tolist(),
            "measured": self.levels.pictures,
        }
        with write_whole(record) as file:
            file.write(json.dumps(document).encode())


def load_result(name: str, out: Place, work: Place) -> ShardResult | None:
    """The result of a shard that an earlier run, or another machine, finished; None where there is none.

    Raises BadInput where the shard is not there as it was written.
    """
    record = work / f"{name}.json"
    try:
        document = json.loads(record.read_bytes())
    except FileNotFoundError:
        return None
    entry = ShardEntry(**document["entry"])
    levels = Levels(np.array(document["levels"], np.int64), document["measured"])
    path = out / name
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    if size != entry.bytes:
        got, wanted = f"{size:,} bytes" if size else "no such file", f"{entry.bytes:,} bytes, as it was written"
        raise BadInput("a finished shard has been lost or changed", path, got, wanted, f"delete {record} or: {REMAKE}")
    return ShardResult(entry, [LeftOut(**lost) for lost in document["left_out"]], levels)


def write_shard(job: Job, out: Place, work: Place, aside: bool, storage: StorageConfig) -> ShardResult:
    """Write a shard, or find it finished by an earlier run; either way the same bytes and the same result.

    `aside` has another process hash it.
    """
    finished = load_result(job.name, out, work)
    if finished is not None:
        return finished
    rows, levels = Rows(), Levels()
    left_out: list[LeftOut] = []
    with (
        write_whole(out / job.name) as file,
        TarWriter(file, aside=aside) as tar,
        read(job, storage, levels, tar) as sources,
    ):
        for number, samples in sources:
            if isinstance(samples, LeftOut):
                left_out.append(samples)
                continue
            for part, sample in enumerate(samples):
                if isinstance(sample, LeftOut):
                    left_out.append(sample)
                    continue
                rows.append(tar, f"{number:09d}" + (f"_{part:04d}" if len(samples) > 1 else ""), sample)
        sha256, size = tar.finish(), tar.size
    table = np.array(rows.table, SAMPLE)
    table["crc32"] = np.array(tar.checksums, np.uint32)[rows.pictures]
    return Written(job.name, size, sha256, rows.dali).finish(out, work, {".npy": table}, left_out, levels)


@contextmanager
def read(job: Job, storage: StorageConfig, levels: Levels, tar: TarWriter) -> Iterator[Iterator[Result]]:
    """The sources of a job with what becomes of each, in the way that is fastest for them."""
    if headers_alone(job, storage):
        yield read_in_place(job, storage, levels, tar)
    else:
        with ReadAhead(job, storage, levels) as ahead:
            yield iter(ahead)


@dataclass(frozen=True)
class Written:
    """A tar that is in its place, and what is still to be written beside it."""

    name: str
    bytes: int
    sha256: str
    dali: list[str]
    """Lines of its DALI index, one a sample."""

    def finish(
        self, out: Place, work: Place, tables: dict[str, NDArray[np.void]], left_out: list[LeftOut], levels: Levels
    ) -> ShardResult:
        """Write the index, the tables (by suffix of their names) and, last, the record; no tar of no sample stays."""
        idx = "\n".join([f"{DALI_INDEX_VERSION} {len(self.dali)}", *self.dali, ""]).encode()
        if self.dali:
            with write_whole(out / idx_name(self.name)) as file:
                file.write(idx)
            for suffix, table in tables.items():
                with write_whole(work / f"{self.name}{suffix}") as file:
                    np.save(file, table)
        else:
            (out / self.name).unlink()
        size = self.bytes if self.dali else 0
        entry = ShardEntry(self.name, len(self.dali), size, self.sha256, hashlib.sha256(idx).hexdigest())
        result = ShardResult(entry, left_out, levels)
        result.save(work / f"{self.name}.json")
        return result


def gather(results: list[ShardResult], out: Place, work: Place) -> Tables:
    """The shards' tables as that of the set."""
    tables = [result.load_table(work) for result in results]
    for number, table in enumerate(tables):
        table["shard"] = number
    table = np.concatenate(tables)
    levels = Levels()
    for result in results:
        levels.merge(result.levels)
    with write_whole(out / SAMPLES) as file:
        np.save(file, table)
    return Tables(file_sha256(out / SAMPLES), {**describe_table(table), **levels.summary()})


@dataclass
class Rows:
    """The samples of a shard so far: rows of the table but for their checksums, and lines of the DALI index."""

    table: list[tuple[int, ...]] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    """Which member of the tar each sample's picture is."""
    dali: list[str] = field(default_factory=list)

    def append(self, tar: TarWriter, key: str, sample: Sample) -> None:
        """Write one sample's members, sorted by extension as webdataset's own writer does."""
        about = json.dumps(sample.about).encode()
        members = [(sample.extension, sample.data), ("json", about)]
        if sample.extension > "json":
            members.reverse()
        tar.together(2 * BLOCK + padded(len(sample.data)) + padded(len(about)))
        parts, offsets = [], {}
        for extension, data in members:
            name = f"{key}.{extension}"
            offset = offsets[extension] = tar.add(tar_header(name, len(data)), data)
            parts.append(f"{extension} {offset} {len(data)} {name}")
        if sample.about["sha256"] == DIGEST:
            # The first such words are the key itself: within a name, its quotes would have backslashes.
            digits = about.index(SHA256_KEY) + len(SHA256_KEY)
            tar.digest(offsets[sample.extension], len(sample.data), offsets["json"] + digits)
        self.dali.append(" ".join(parts))
        shape = sample.header
        decoded = int(sample.extension == PIXELS)
        row = (offsets[sample.extension], len(sample.data), 0, 0, shape.height, shape.width)
        self.pictures.append(2 * len(self.table) + (sample.extension > "json"))
        self.table.append((*row, shape.channels, shape.bits, decoded))
