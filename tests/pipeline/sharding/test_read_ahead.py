"""Reading ahead, or each source to its place, changes neither order nor errors."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.sharding.ingest import DIGEST
from pipeline.sharding.plan import Job
from pipeline.sharding.read_ahead import BATCH, Result
from pipeline.sharding.shard_writer import read
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import StorageConfig
from pipeline.sharding.tar_writer import TarWriter
from pipeline.sources.listing import list_sources

HEADERS = StorageConfig(check="header")  # whose pictures are read to their places


@contextmanager
def reading(job: Job, storage: StorageConfig, levels: Levels) -> Iterator[Iterator[Result]]:
    with TarWriter(io.BytesIO()) as tar, read(job, storage, levels, tar) as sources:
        yield sources


@pytest.mark.parametrize("storage", [StorageConfig(), HEADERS], ids=["decoded", "headers"])
@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 8 * BATCH + 3])
def test_sources_come_in_their_order(many: Path, count: int, storage: StorageConfig) -> None:
    files, levels = list_sources([many])[:count], Levels()
    every = 7 if storage is HEADERS else 1
    numbers = []
    with reading(Job("x.tar", 40, files, every), storage, levels) as sources:
        for file, (number, samples) in zip(files, sources, strict=True):
            assert not isinstance(samples, LeftOut)
            sample = samples[0]
            assert not isinstance(sample, LeftOut)
            assert sample.data == file.path.read_bytes()
            digest = hashlib.sha256(sample.data).hexdigest()
            assert sample.about["sha256"] == (DIGEST if storage is HEADERS else digest)
            numbers.append(number)
    assert numbers == list(range(40, 40 + count))
    measured = len([n for n in range(40, 40 + count) if n % every == 0])
    assert levels.pictures == measured


@pytest.mark.parametrize("place", [0, 1, BATCH - 1, BATCH, 2 * BATCH + 5, 7 * BATCH])
@pytest.mark.parametrize("storage", [StorageConfig(), HEADERS], ids=["decoded", "headers"])
def test_what_fails_ahead_is_raised_in_its_place(
    many: Path, tmp_path: Path, storage: StorageConfig, place: int
) -> None:
    """After every picture before it, whatever has been read of those behind it; and one that is left out is no end."""
    (tmp_path / "gone.jpg").write_bytes(b"x")
    files, gone = list_sources([many])[: 8 * BATCH], list_sources([tmp_path])
    (tmp_path / "gone.jpg").unlink()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    files[place : place + 1] = [*list_sources([broken]), *gone]
    with reading(Job("x.tar", 0, files), storage, Levels()) as sources:
        seen: list[Result] = []
        with pytest.raises(BadInput, match=r"gone\.jpg"):
            seen.extend(sources)  # which keeps what came before the end
    assert [number for number, _ in seen] == list(range(place + 1))
    assert [isinstance(samples, LeftOut) for _, samples in seen] == [False] * place + [True]
