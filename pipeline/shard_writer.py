"""One shard: pictures -> a tar, its DALI index and its rows of the sample table, each whole or absent."""

import hashlib
import io
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import webdataset
from numpy.typing import NDArray

from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.index import SAMPLE, LeftOut, ShardEntry, idx_name
from pipeline.picture import Picture, decode
from pipeline.plan import Job
from pipeline.sources import SourceFile

BLOCK = 512  # of a tar: a member is one header block and its bytes, padded to blocks
DALI_INDEX_VERSION = "v1.2"
STORED_AS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}  # other kinds are stored decoded


@dataclass(frozen=True)
class ShardResult:
    """What a finished shard leaves for the index."""

    entry: ShardEntry
    left_out: list[LeftOut]

    def load_table(self, work: Path) -> NDArray[np.void]:
        table: NDArray[np.void] = np.load(work / f"{self.entry.name}.npy")
        return table


def write_shard(job: Job, out: Path, work: Path) -> ShardResult:
    """Write a shard, or find it finished by an earlier run; either way the same bytes and the same result."""
    record = work / f"{job.name}.json"
    if record.exists():
        document = json.loads(record.read_bytes())
        return ShardResult(ShardEntry(**document["entry"]), [LeftOut(**entry) for entry in document["left_out"]])

    rows: list[tuple[int, ...]] = []
    left_out: list[LeftOut] = []
    dali: list[str] = []
    with write_whole(out / job.name) as file:
        hashed = HashedFile(file)
        # A fixed time, as the default (a float) costs a kilobyte a member and makes every run's bytes differ.
        with webdataset.TarWriter(hashed, encoder=False, mtime=0, user="", group="", compress=False) as tar:
            for number, source in enumerate(job.files, job.first_key):
                sample = ingest(source)
                if isinstance(sample, LeftOut):
                    left_out.append(sample)
                    continue
                rows.append(append(tar, f"{number:09d}", sample, dali))
    idx = "\n".join([f"{DALI_INDEX_VERSION} {len(dali)}", *dali, ""]).encode()
    sums = hashed.sha256.hexdigest(), hashlib.sha256(idx).hexdigest()
    entry = ShardEntry(job.name, len(rows), hashed.size, *sums)
    if not rows:
        (out / job.name).unlink()
    else:
        with write_whole(out / idx_name(job.name)) as file:
            file.write(idx)
        with write_whole(work / f"{job.name}.npy") as file:
            np.save(file, np.array(rows, SAMPLE))
    with write_whole(record) as file:
        file.write(json.dumps({"entry": asdict(entry), "left_out": [asdict(lost) for lost in left_out]}).encode())
    return ShardResult(entry, left_out)


@dataclass(frozen=True)
class Sample:
    """A picture ready for its shard: the bytes to store, under which extension, and what is said of it."""

    data: bytes
    extension: str
    height: int
    width: int
    about: dict[str, Any]


def ingest(source: SourceFile) -> Sample | LeftOut:
    """Read and check one source. A picture that cannot train is left out with the reason; a vanished one raises."""
    try:
        data = source.path.read_bytes()
    except OSError as error:
        raise BadInput(
            "a source cannot be read",
            source.path,
            error.strerror or str(error),
            "the file that was listed",
            REPLAN,
        ) from error
    if len(data) != source.size:
        raise BadInput("a source has changed", source.path, f"{len(data)} bytes", f"{source.size} as listed", REPLAN)
    try:
        picture = decode(data, source.name)  # in full: a header alone does not show a picture cut in half
    except BadInput as error:
        what, _, got, wanted, _ = error.args
        return LeftOut(source.name, f"{what}: {got}, wanted {wanted}")
    height, width = picture.pixels.shape[1:]
    if min(height, width) < 2:
        return LeftOut(source.name, f"{width} x {height} pixels, wanted at least 2 x 2")
    extension = STORED_AS.get(source.path.suffix.lower(), "npy")
    about = {
        "source": source.name,
        "width": width,
        "height": height,
        "channels": len(picture.pixels),
        "bits": picture.bits,
        "encoding": "srgb",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return Sample(data if extension != "npy" else as_npy(picture), extension, height, width, about)


REPLAN = "leave the sources alone while sharding; delete the output folder and run the command again"


def as_npy(picture: Picture) -> bytes:
    file = io.BytesIO()
    np.save(file, picture.pixels)
    return file.getvalue()


def append(tar: Any, key: str, sample: Sample, dali: list[str]) -> tuple[int, ...]:
    """Write one sample's members; return its row of the table and add its line to the DALI index."""
    members = {sample.extension: sample.data, "json": json.dumps(sample.about).encode()}
    offset, picture_offset, parts = tar.tarstream.offset, 0, []
    for extension in sorted(members):  # the writer's own order
        offset += BLOCK
        if extension == sample.extension:
            picture_offset = offset
        size = len(members[extension])
        parts.append(f"{extension} {offset} {size} {key}.{extension}")
        offset += -(-size // BLOCK) * BLOCK
    tar.write({"__key__": key, **members})
    if tar.tarstream.offset != offset:
        raise AssertionError(f"the tar writer is at {tar.tarstream.offset}, expected {offset}")
    dali.append(" ".join(parts))
    return picture_offset, len(sample.data), 0, zlib.crc32(sample.data), sample.height, sample.width


class HashedFile:
    """Hashes and counts what passes into a file, so that a shard is never read again to be hashed."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self.file.write(data)
