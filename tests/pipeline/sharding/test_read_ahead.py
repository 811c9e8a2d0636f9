"""Reading ahead changes neither order nor errors."""

from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.sharding.plan import Job
from pipeline.sharding.read_ahead import BATCH, ReadAhead
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 100])
def test_sources_come_in_their_order(many: Path, count: int) -> None:
    files = list_sources([many])[:count]
    with ReadAhead(Job("x.tar", 40, files), StorageConfig()) as ahead:
        results = list(ahead)
    assert [number for number, _ in results] == list(range(40, 40 + count))
    for file, (_, samples) in zip(files, results, strict=True):
        assert not isinstance(samples, LeftOut)
        assert samples[0].data == file.path.read_bytes()
    assert ahead.levels.pictures == count


def test_what_fails_ahead_is_raised_in_its_place(many: Path, tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").write_bytes(b"x")
    files = [*list_sources([many])[: BATCH + 2], *list_sources([tmp_path])]
    (tmp_path / "gone.jpg").unlink()
    with ReadAhead(Job("x.tar", 0, files), StorageConfig()) as ahead:
        results = iter(ahead)
        assert [next(results)[0] for _ in range(BATCH)] == list(range(BATCH))  # the batch before
        with pytest.raises(BadInput, match=r"gone\.jpg"):
            next(results)
