"""The plain tar writer: what it writes is what any reader of tars and WebDataset reads."""

import hashlib
import io
import json
import os
import signal
import tarfile
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import webdataset

from pipeline.index import idx_name, load_index
from pipeline.reader import ShardSet
from pipeline.sharding.hasher import ROOM, HasherAside
from pipeline.sharding.tar_writer import BLOCK, LARGEST, TarWriter, padded, tar_header, write_all

asides = pytest.mark.parametrize("aside", [False, True], ids=["here", "aside"])


def written(path: Path, members: dict[str, bytes], aside: bool) -> tuple[bytes, str, list[int]]:
    with open(path, "wb") as file, TarWriter(file, aside=aside) as tar:
        offsets = [tar.add(tar_header(name, len(data)), data) for name, data in members.items()]
        sha256 = tar.finish()
    assert tar.checksums == [zlib.crc32(tar_header(name, len(data)) + data) for name, data in members.items()]
    return path.read_bytes(), sha256, offsets


@asides
def test_any_tar_reads_it(tmp_path: Path, aside: bool) -> None:
    members = {"a.jpg": b"x" * 511, "b" * 96 + ".png": b"y" * 512, "c.json": b"", "d": bytes(10 << 20)}
    data, sha256, offsets = written(tmp_path / "a.tar", members, aside)
    assert hashlib.sha256(data).hexdigest() == sha256
    assert len(data) % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        infos = archive.getmembers()
        assert {info.name: archive.extractfile(info).read() for info in infos} == members  # type: ignore[union-attr]
    assert [info.offset_data for info in infos] == offsets
    assert {(info.mtime, info.uid, info.mode, info.uname) for info in infos} == {(0, 0, 0o444, "")}


def test_a_header_is_that_of_pythons_own_writer() -> None:
    info = tarfile.TarInfo("000000001.jpg")
    info.size, info.mode = 12345, 0o444
    ours, theirs = tar_header(info.name, info.size), info.tobuf(tarfile.USTAR_FORMAT)
    assert tarfile.TarInfo.frombuf(ours, "ascii", "strict").chksum == sum(ours[:148]) + 256 + sum(ours[156:])
    assert ours[:100] + ours[124:136] + ours[257:265] == theirs[:100] + theirs[124:136] + theirs[257:265]


@pytest.mark.parametrize(("name", "size"), [("x" * 101, 1), ("x", 8 << 30)])
def test_what_does_not_fit_a_header_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="ustar"):
        tar_header(name, size)


@asides
@pytest.mark.parametrize("size", [HasherAside.full // 3, ROOM // 2, ROOM - BLOCK, ROOM, 2 * ROOM + 1])
def test_members_of_several_pieces_and_pieces_of_several_members(tmp_path: Path, size: int, aside: bool) -> None:
    members = {f"{number}.bin": bytes([number % 251]) * (size + number) for number in range(20 if size < ROOM else 3)}
    data, sha256, _ = written(tmp_path / "a.tar", members, aside)
    assert hashlib.sha256(data).hexdigest() == sha256
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        infos = archive.getmembers()
        assert {info.name: archive.extractfile(info).read() for info in infos} == members  # type: ignore[union-attr]


def test_what_is_taken_in_portions_arrives_whole() -> None:
    """A full pipe and a signal end a write early, as a disk that fills up does."""
    data = b"a" * 100_000 + b"b" * 100_001
    reading, writing = os.pipe()
    received = bytearray()

    def receive() -> None:
        time.sleep(0.3)
        while chunk := os.read(reading, 1000):
            received.extend(chunk)

    reader = threading.Thread(target=receive)
    interrupted: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: interrupted.append(number))
    try:
        reader.start()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        write_all(writing, data)
    finally:
        signal.signal(signal.SIGALRM, before)
        os.close(writing)
        reader.join()
        os.close(reading)
    assert interrupted
    assert received == data


@asides
@pytest.mark.parametrize("about_size", [300, 20_000, 500_000], ids=["in its room", "beyond it", "far beyond it"])
@pytest.mark.parametrize("size", [1000, HasherAside.full, LARGEST])
def test_what_is_read_to_its_place_has_its_digest_filled_in(
    tmp_path: Path, size: int, about_size: int, aside: bool
) -> None:
    """Also where what is said of it needs more room than was kept, and it has to move to the next piece."""
    with open(tmp_path / "a.tar", "wb") as file, TarWriter(file, aside=aside) as tar:
        offsets = []
        for number in range(5):
            data = tar.place(size)
            data[:] = bytes([number]) * size
            about = b"?" * 64 + b" " * about_size
            tar.together(2 * BLOCK + padded(size) + padded(len(about)))
            offsets.append(tar.add(tar_header(f"{number}.jpg", size), data))
            tar.digest(offsets[-1], size, tar.add(tar_header(f"{number}.json", len(about)), about))
        sha256 = tar.finish()
    assert hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest() == sha256
    with tarfile.open(tmp_path / "a.tar") as archive:
        for number in range(5):
            picture, about = (archive.extractfile(f"{number}.{kind}").read() for kind in ("jpg", "json"))  # type: ignore[union-attr]
            assert picture == bytes([number]) * size
            assert about[:64].decode() == hashlib.sha256(picture).hexdigest()


@asides
def test_a_failing_disk_is_not_swallowed(aside: bool) -> None:
    with open("/dev/full", "wb", buffering=0) as full, TarWriter(full, aside=aside) as tar:
        tar.add(tar_header("x", 5), b"12345")
        with pytest.raises(OSError, match="No space"):
            tar.finish()


@pytest.mark.filterwarnings("ignore")  # of webdataset's own
def test_webdataset_reads_a_set(shards: Path) -> None:
    urls = sorted(map(str, shards.glob("*.tar")))
    opened = ShardSet(shards)
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert len(read) == len(opened)
    for number, sample in enumerate(read):
        stored = opened.read(number)
        assert sample[stored.extension] == stored.data
        about = json.loads(sample["json"])
        assert hashlib.sha256(stored.data).hexdigest() == about["sha256"]
        assert about["height"] == opened.table[number]["height"]


@pytest.mark.filterwarnings("ignore")  # of wids' own
def test_wids_reads_a_set(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wids = pytest.importorskip("wids")
    opened = ShardSet(shards)
    read = wids.ShardListDataset(str(shards / "index.json"), cache_dir=str(tmp_path), keep=True)
    assert len(read) == len(opened)
    for number in range(len(opened)):
        about = read[number][".json"]
        assert hashlib.sha256(opened.read(number).data).hexdigest() == about["sha256"]


def test_dali_reads_a_set(shards: Path) -> None:
    """NVIDIA's own reader, on the CPU, by our .idx: every picture hashes to what its KEY.json says."""
    dali = pytest.importorskip("nvidia.dali")
    index = load_index(shards)
    tars = [str(shards / entry.name) for entry in index.shards]
    pipe = dali.Pipeline(batch_size=1, num_threads=1, device_id=None)
    with pipe:
        indices = [str(shards / idx_name(entry.name)) for entry in index.shards]
        reader = {"paths": tars, "index_paths": indices, "ext": ["jpg;png", "json"], "name": "reader"}
        pipe.set_outputs(*dali.fn.readers.webdataset(**reader, missing_component_behavior="error"))
    pipe.build()
    assert pipe.reader_meta("reader")["epoch_size"] == index.samples
    for _ in range(index.samples):
        picture, about = (bytes(np.asarray(part.at(0))) for part in pipe.run())
        assert hashlib.sha256(picture).hexdigest() == json.loads(about)["sha256"]
