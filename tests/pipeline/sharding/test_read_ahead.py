"""Reading ahead changes neither order nor errors."""

import hashlib
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.sharding.plan import Job
from pipeline.sharding.read_ahead import BATCH, ReadAhead, Result
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources

HEADERS = StorageConfig(check="header")  # which one thread hashes behind the reading


@pytest.mark.parametrize("storage", [StorageConfig(), HEADERS], ids=["decoded", "headers"])
@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 8 * BATCH + 3])
def test_sources_come_in_their_order(many: Path, count: int, storage: StorageConfig) -> None:
    files = list_sources([many])[:count]
    every = 7 if storage is HEADERS else 1
    with ReadAhead(Job("x.tar", 40, files, every), storage) as ahead:
        results = list(ahead)
    assert [number for number, _ in results] == list(range(40, 40 + count))
    for file, (_, samples) in zip(files, results, strict=True):
        assert not isinstance(samples, LeftOut)
        assert samples[0].data == file.path.read_bytes()
        assert samples[0].about["sha256"] == hashlib.sha256(samples[0].data).hexdigest()
    measured = len([n for n in range(40, 40 + count) if n % every == 0])
    assert ahead.levels.pictures == measured


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
    with ReadAhead(Job("x.tar", 0, files), storage) as ahead:
        seen: list[Result] = []
        with pytest.raises(BadInput, match=r"gone\.jpg"):
            seen.extend(ahead)  # which keeps what came before the end
    assert [number for number, _ in seen] == list(range(place + 1))
    assert [isinstance(samples, LeftOut) for _, samples in seen] == [False] * place + [True]


def test_both_ways_say_the_same_of_the_same_pictures(many: Path) -> None:
    files = list_sources([many])[:100]
    said = []
    for storage in (StorageConfig(), HEADERS):
        with ReadAhead(Job("x.tar", 0, files), storage) as ahead:
            said.append(([samples for _, samples in ahead], ahead.levels.counts.tolist()))
    assert said[0] == said[1]
