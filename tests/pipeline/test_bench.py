"""The benchmark of writers runs, and compares what it says it compares."""

from pathlib import Path

import pytest

from pipeline.bench import main
from pipeline.errors import BadInput


@pytest.mark.filterwarnings("ignore")  # of webdataset's own
def test_writers_are_compared(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(pictures), "--on", str(tmp_path), "--repeats", "1"])
    said = capsys.readouterr().out
    for name in ("GNU tar  ", "GNU tar, flushed", "n2n shard --check header", "webdataset ShardWriter"):
        assert name in said
    assert "1.00 of GNU tar" in said
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_measure_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to measure"):
        main([str(tmp_path / "none")])
