"""The loader's benchmark beside other libraries runs, and compares what it says it compares."""

import contextlib
import importlib.util
import json
import signal
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.benches import loader_peers, loader_rows
from launch.benches.loader_peers import SIGMA, Baseline, Job, pair_of
from launch.benches.peer_rows import Server, Turn, reason
from launch.benches.peer_set import claim, prepare
from launch.benches.peers import markdown, table
from pipeline.errors import BadInput
from pipeline.reader import ShardSet
from tests.conftest import Run

ROWS = ("baseline", "webdataset", "mds", "jpeg", "jpeg-4", "pixels", "pixels-uint8")


@pytest.fixture(scope="module")
def job(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("peers")
    prepare(shards, folder, 32, 1000)
    return Job(folder, 32, 1, 4)


@pytest.mark.faults
def test_rows_are_compared(run_verb: Run, shards: Path, tmp_path: Path) -> None:
    options = (
        "--crop",
        32,
        "--workers",
        1,
        "--repeats",
        2,
        "--seconds",
        0.05,
        "--rows",
        *ROWS,
        "--set",
        "set",
        "--out",
        "out",
    )
    done = run_verb("launch.cli", "bench", "peers", "--data", shards, *options)
    assert done.returncode == 0, done.stderr
    lines = {line["name"]: line for line in json.loads((tmp_path / "out" / "table.json").read_text())}
    there = importlib.util.find_spec("streaming") is not None
    assert ("MosaicML Streaming: left out" in done.stdout) is not there
    assert len(lines) == len(ROWS) - (not there)
    for line in lines.values():
        assert len(line["turns"]) == 2
        assert line["pairs_per_s"] > 0
        assert line["name"] in (tmp_path / "out" / "table.md").read_text()
    assert lines["webdataset"]["of_peer"] == [1, 1, 1] or there
    assert (tmp_path / "out" / "plot.png").stat().st_size > 10_000
    assert not [words for words in words_of_processes() if str(tmp_path / "set") in words], (
        "no row is left behind, running or stopped"
    )


def test_no_turns_prepare_the_set_alone(run_verb: Run, shards: Path, tmp_path: Path) -> None:
    options = ("--crop", 32, "--repeats", 0, "--rows", "baseline", "jpeg", "--set", "set", "--out", "out")
    done = run_verb("launch.cli", "bench", "peers", "--data", shards, *options)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "set" / "pictures").iterdir())
    assert not (tmp_path / "out").exists()


def words_of_processes() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text())
    return found


def test_all_read_the_same_pictures(job: Job, shards: Path) -> None:
    """The JPEGs of the set that are as large as a crop, byte for byte."""
    files = [path.read_bytes() for path in job.pictures()]
    opened = ShardSet(shards)
    stored = [opened.read(sample) for sample in range(len(opened)) if min(opened.pixels(sample).shape[1:]) >= 32]
    assert files == [one.data for one in stored if one.extension == "jpg"]
    for store in ("jpeg", "pixels"):
        assert len(ShardSet(job.folder / store)) == len(files)


@pytest.mark.parametrize("row", ["baseline", "webdataset"])
def test_peers_make_our_kind_of_pair(job: Job, row: str) -> None:
    source, target = next(loader_peers.ROWS[row][1](job))
    assert source.shape == target.shape == (4, 3, 32, 32)
    assert source.dtype == target.dtype == torch.float32


def test_noise_of_peers_is_ours(job: Job) -> None:
    """Both views have a mean square difference of E[sigma_1**2 + sigma_2**2] = 2/3 SIGMA**2; half of it would show."""
    data = job.pictures()[0].read_bytes()
    told = torch.stack([(a - b).square().mean() for a, b in (pair_of(data, 32) for _ in range(2000))])
    wanted, error = 2 / 3 * SIGMA**2, float(told.std()) / len(told) ** 0.5
    assert abs(float(told.mean()) - wanted) < 5 * error
    assert abs(float(told.mean()) / 2 - wanted) > 5 * error


def test_the_baseline_cuts_its_noise_to_8_bits(job: Job) -> None:
    source, _ = Baseline(job)[0]
    assert source.min() >= 0
    assert source.max() <= 1
    assert torch.equal((source * 255).round() / 255, source)


def test_every_row_of_ours_serves(job: Job) -> None:
    for name, row in loader_rows.ROWS.items():
        made: Any = loader_rows.batches(row, job)
        kinds = {
            (part.dtype, tuple(part.shape)) for batch in islice(made, 3) for part in batch[: 1 if row.shipped else 2]
        }
        assert kinds == {(torch.uint8 if row.shipped else torch.float32, (4, 3, 32, 32))}, name
        made.close()


def test_ratios_are_to_the_best_peer_that_keeps_the_bytes() -> None:
    def rates(*told: float) -> list[Turn]:
        return [Turn(rate, 1.0) for rate in told]

    turns = {"webdataset": rates(100, 100), "litdata": rates(200, 100), "ffcv-raw": rates(900, 900)}
    lines = table({**turns, "jpeg": rates(400, 300)}, 64)
    assert lines[-1].of_peer == (2.0, 2.5, 3.0)
    assert lines[0].of_peer == (0.5, 0.75, 1.0)
    assert "2.00, 2.50, 3.00" in markdown(lines)


SERVED = "import os; print('{\"ready\": 1}', flush=True); input()"
ANSWER = 'print(\'noise of a library\'); print(\'{"pairs": 30, "seconds": 2.0, "cpu_s": 0.6}\', flush=True); input()'


def test_a_row_is_asked_and_stopped_between_its_turns(tmp_path: Path) -> None:
    server = Server([sys.executable, "-c", f"{SERVED}; {ANSWER}"], tmp_path / "log")
    try:
        assert server.turn(1.0) == Turn(15.0, 20.0)
        until = time.monotonic() + 10
        while "T (stopped)" not in Path(f"/proc/{server.process.pid}/status").read_text():
            assert time.monotonic() < until
    finally:
        server.close()
    assert server.process.returncode == -signal.SIGKILL


def test_a_row_that_fails_is_left_out(tmp_path: Path) -> None:
    failed = Server([sys.executable, "-c", "raise SystemExit('no such library')"], tmp_path / "log")
    assert not failed.ready
    assert reason(tmp_path / "log") == "no such library"
    failed.close()
    server = Server([sys.executable, "-c", f"{SERVED}; os._exit(3)"], tmp_path / "log")
    assert server.ready
    assert server.turn(1.0) is None
    server.close()


def test_a_set_without_jpegs_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 4000 pixels"):
        prepare(shards, tmp_path / "set", 4000, 10)


def test_a_folder_of_another_set_is_refused(shards: Path, own_shards: Path, tmp_path: Path) -> None:
    """What is there is used again by the same command alone."""
    folder = tmp_path / "set"
    claim(shards, folder, 32, 10)
    claim(shards, folder, 32, 10)
    for other in ((None, 32, 10), (own_shards, 32, 10), (shards, 48, 10), (shards, 32, 11)):
        with pytest.raises(BadInput, match=r"(?s)made of something else.*--set"):
            claim(other[0], folder, other[1], other[2])
    (folder / "made-of.json").unlink()
    (folder / "pictures").mkdir()
    with pytest.raises(BadInput, match="say not of what"):
        claim(shards, folder, 32, 10)
