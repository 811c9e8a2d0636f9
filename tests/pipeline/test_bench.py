"""The benchmark of writers runs, and compares what it says it compares."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import webdataset

from pipeline.bench import Writer, main, spend
from pipeline.errors import BadInput
from pipeline.peers import WRITERS
from tests.conftest import Run


@pytest.fixture
def quoted(pictures: Path, tmp_path: Path) -> Path:
    """The pictures below a name that a shell would take apart."""
    return Path(shutil.copytree(pictures, tmp_path / "it's a folder"))


@pytest.mark.faults
def test_writers_are_compared(quoted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "on").mkdir()
    table = tmp_path / "table.json"
    main([str(quoted), "--on", str(tmp_path / "on"), "--repeats", "1", "--workers", "1", "2", "--json", str(table)])
    said = capsys.readouterr().out
    rows = json.loads(table.read_text())
    wanted = {"GNU tar", "GNU tar, flushed", "webdataset ShardWriter", "n2n shard --check decode, 1"}
    assert wanted | {f"n2n shard --check header, {workers}" for workers in (1, 2)} <= rows.keys()
    assert rows["GNU tar"]["of_tar"] == [1, 1, 1]
    assert all(name in said and row["pictures_per_s"] > 0 for name, row in rows.items())
    assert rows["webdataset ShardWriter"]["start_s"] > 0
    assert list((tmp_path / "on").iterdir()) == []


def test_what_is_not_installed_is_told(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(pictures), "--on", str(tmp_path), "--repeats", "1", "--workers", "1", "--peers", str(tmp_path / "none")])
    said = capsys.readouterr().out
    assert said.count("not installed") == 4
    assert "n2n shard --check header, 1" in said


@pytest.mark.filterwarnings("ignore")  # of webdataset's own
def test_a_peer_writes_the_pictures_it_is_given(pictures: Path, tmp_path: Path) -> None:
    paths = sorted(map(str, pictures.rglob("*.png")))
    WRITERS["webdataset"](paths, tmp_path / "set")
    read = [
        sample["jpg"] for sample in webdataset.WebDataset([str(tmp_path / "set" / "000000.tar")], shardshuffle=False)
    ]
    assert read == [Path(path).read_bytes() for path in paths]


def test_a_writer_that_fails_is_not_timed(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        spend(Writer("", ["sh", "-c", "exit 3"]), tmp_path / "out", b"")
    assert list(tmp_path.iterdir()) == []


def test_starting_up_is_told_apart(tmp_path: Path) -> None:
    spent = spend(Writer("", ["sh", "-c", "sleep 0.5"], ["sh", "-c", "sleep 0.2"]), tmp_path / "out", b"")
    assert 0.2 <= spent.start < 0.5
    assert spent.wall < 0.5


def test_a_plan_takes_two_hundred_bytes_an_entry(run_verb: Run) -> None:
    """So that of ImageNet fits in a third of a gigabyte, and one of a hundred million pictures in 20 GB."""
    done = run_verb("pipeline.bench", "--plan", 200_000)
    shards, size = (int(re.search(found, done.stdout)[1]) for found in (r"in (\d+) shards", r"(\d+) bytes an entry"))  # type: ignore[index]
    assert 150 < shards < 200
    assert size < 300  # 50 of them are what any process takes


def test_nothing_to_measure_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to measure"):
        main([str(tmp_path / "none")])
