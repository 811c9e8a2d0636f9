"""Reading ahead changes neither order nor errors."""

from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.sharding.plan import Job
from pipeline.sharding.read_ahead import ReadAhead
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100])
def test_sources_come_in_their_order(many: Path, count: int) -> None:
    files = list_sources([many])[:count]
    with ReadAhead(Job("x.tar", 40, files), StorageConfig()) as ahead:
        results = list(ahead)
    assert [number for number, _, _ in results] == list(range(40, 40 + count))
    for file, (_, samples, levels) in zip(files, results, strict=True):
        assert not isinstance(samples, LeftOut)
        assert samples[0].data == file.path.read_bytes()
        assert levels.pictures == 1


def test_what_fails_ahead_is_raised_in_its_place(many: Path, tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").write_bytes(b"x")
    files = [*list_sources([many])[:10], *list_sources([tmp_path])]
    (tmp_path / "gone.jpg").unlink()
    with ReadAhead(Job("x.tar", 0, files), StorageConfig()) as ahead:
        results = iter(ahead)
        assert [next(results)[0] for _ in range(8)] == list(range(8))  # the batches before
        with pytest.raises(BadInput, match=r"gone\.jpg"):
            next(results)
