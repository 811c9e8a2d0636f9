"""Leaving on request, with real signals to real processes."""

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.stopping import SIGNALS, StopRequest

LONG = ("--train.images=100000", "--train.log_every_images=400")


@contextmanager
def training(tiny: tuple[str, ...], folder: Path, environment: dict[str, str], ranks: int = 0) -> Iterator[Any]:
    """A long training in folder/run that has written its first checkpoint."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks else []
    command = [sys.executable, *launcher, "-m", "launch.train", f"run={folder / 'run'}", *tiny, *LONG]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            while not list((folder / "run" / "checkpoints").glob("[0-9]*.pt")):
                assert child.poll() is None, child.communicate()[1]
                time.sleep(0.02)
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def newest(run: Path) -> dict[str, Any]:
    path = sorted((run / "checkpoints").glob("[0-9]*.pt"))[-1]
    document: dict[str, Any] = torch.load(path, weights_only=True)
    return document


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_leaves(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str], number: signal.Signals, run_verb: Any
) -> None:
    with training(tiny, tmp_path, child_environment) as child:
        child.send_signal(number)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    images = newest(tmp_path / "run")["images"]
    assert f"{number.name}: stopped at {images} images" in errors
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, f"--train.images={images + 4}")
    assert done.returncode == 0, done.stderr
    assert f"resuming {tmp_path / 'run'} at {images} images" in done.stderr


def test_a_signal_to_one_rank_stops_all_at_one_step(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]
) -> None:
    with training(tiny, tmp_path, child_environment, ranks=2) as child:
        ranks = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=True)
        os.kill(int(ranks.stdout.split()[-1]), signal.SIGUSR1)
        _, errors = child.communicate(timeout=90)
    assert child.returncode == 0, errors
    assert errors.count("SIGUSR1: stopped at") == 1


def test_a_signal_to_every_process_is_left_to_the_one_that_trains(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]
) -> None:
    with training(tiny, tmp_path, child_environment) as child:
        os.killpg(child.pid, signal.SIGTERM)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert "SIGTERM: stopped at" in errors


def test_a_run_belongs_to_one_process(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str], run_verb: Any
) -> None:
    with training(tiny, tmp_path, child_environment) as child:
        second = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, *LONG)
        assert second.returncode == 2
        assert "another process is training this run" in second.stderr
        assert f"process {child.pid}" in second.stderr
        os.killpg(child.pid, signal.SIGKILL)
    third = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, "--train.images=4")
    assert third.returncode == 0, "a killed process holds nothing"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_not_lost_while_something_is_taken_apart() -> None:
    """Python only prints what is raised in a weak reference's callback; the next step raises it again."""
    handlers = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGINT)}
    try:
        stop = StopRequest()
        assert not stop.asked()
        batch = torch.zeros(1).numpy()[:]
        weakref.finalize(batch, signal.raise_signal, signal.SIGINT)
        del batch
        with pytest.raises(KeyboardInterrupt):
            stop.asked()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
