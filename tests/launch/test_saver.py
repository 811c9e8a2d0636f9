"""Checkpoints written behind the training: what is written, when it is waited for, and what a kill leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.checkpoint import list_checkpoints, load_checkpoint, load_latest
from launch.run_dir import RunDir
from launch.saver import Saver, chosen_metric
from launch.state import TrainConfig
from pipeline.errors import BadInput


def document(images: int, weights: torch.Tensor) -> dict[str, Any]:
    return {"images": images, "network": {"w": weights}, "optimizer": {"state": [weights]}}


def test_training_goes_on_and_the_snapshot_does_not_change(run: RunDir) -> None:
    """While the disk is busy, `save` returns, and what is written is the state of that moment."""
    saver, weights, disk = Saver(run, TrainConfig()), torch.zeros(8), threading.Event()
    saver.pool.submit(disk.wait)
    saver.save(document(8, weights))
    weights.add_(1)
    assert not list_checkpoints(run)
    disk.set()
    saver.close()
    saved = load_checkpoint(run.checkpoints / "000000000008.pt")
    assert float(saved["network"]["w"].sum()) == 0
    assert float(saved["optimizer"]["state"][0].sum()) == 0


def test_a_disk_that_refuses_is_told_by_the_next_save_or_the_end(run: RunDir) -> None:
    for last in (Saver.close, lambda saver: saver.save(document(16, torch.zeros(1)))):
        saver = Saver(run, TrainConfig())
        (run.checkpoints / "000000000008.pt.partial").mkdir(exist_ok=True)
        saver.save(document(8, torch.zeros(1)))
        with pytest.raises((BadInput, IsADirectoryError)):
            last(saver)


KILLED = """
import sys, torch
from pathlib import Path
from launch.run_dir import RunDir
from launch.saver import Saver
from launch.state import TrainConfig

run = RunDir(Path(sys.argv[1]))
run.claim()
saver = Saver(run, TrainConfig())
saver.save({"images": 8, "network": {"w": torch.ones(4)}})
saver._wait()
saver.save({"images": 16, "network": {"w": torch.ones(100_000_000)}})
saver.close()
"""


def test_a_kill_in_mid_write_leaves_the_older_whole_one(tmp_path: Path, child_environment: dict[str, str]) -> None:
    folder = tmp_path / "run"
    partial = folder / "checkpoints" / "000000000016.pt.partial"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], env=child_environment)
    while not partial.exists():
        assert child.poll() is None, "ended before its second checkpoint"
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not partial.with_suffix("").exists(), "written before it was killed"
    latest = load_latest(RunDir(folder))
    assert latest is not None
    assert latest["images"] == 8


def test_the_best_by_each_metric(run: RunDir) -> None:
    """Less of an error, more of a decibel; a resumed run remembers."""
    for metric, values, best in (("mse", [3.0, 1.0, 2.0], 1), ("ssim", [0.3, 0.8, 0.5], 1)):
        (run.checkpoints / "best.pt").unlink(missing_ok=True)
        for images, value in enumerate(values):
            saver = Saver(run, TrainConfig(best_metric=metric))
            saver.save_best(document(images, torch.zeros(1)), {metric: value, "other": 0.0})
            saver.close()
        assert load_checkpoint(run.checkpoints / "best.pt")["images"] == best


def test_a_best_of_another_number_or_a_damaged_one_is_replaced(run: RunDir) -> None:
    best = run.checkpoints / "best.pt"
    for images, (metric, value) in enumerate([("mse", 1.0), ("ssim", -5.0), ("ssim", -7.0)]):
        saver = Saver(run, TrainConfig(best_metric=metric))
        saver.save_best(document(images, torch.zeros(1)), {metric: value})
        saver.close()
    assert load_checkpoint(best)["images"] == 1
    best.write_bytes(best.read_bytes()[:200])
    saver = Saver(run, TrainConfig(best_metric="ssim"))
    saver.save_best(document(3, torch.zeros(1)), {"ssim": -9.0})
    saver.close()
    assert load_checkpoint(best)["images"] == 3


def test_which_metric_is_meant() -> None:
    assert chosen_metric("auto", {"psnr_srgb8_db": 1.0, "unbiased_mse": 2.0}) == "unbiased_mse"
    assert chosen_metric("auto", {"noisy_target_mse": 1.0}) is None
    assert chosen_metric("ssim_srgb8", {"ssim_srgb8": 1.0}) == "ssim_srgb8"
    with pytest.raises(BadInput, match=r"train\.best_metric"):
        chosen_metric("psnr", {"psnr_srgb8_db": 1.0})
