"""Training on frames that are rendered while it runs: exactly resumed, on any number of ranks, and cleanly ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.checkpoint import load_latest
from launch.run_dir import RunDir
from tests.pipeline.test_render import SCENE, alive

pytest.importorskip("mitsuba")

ONLINE = (
    f"--config={Path(__file__).parents[2] / 'configs/render.yaml'}",
    "--data.render=rooms",
    "--data.render_spp=1",
    "--data.render_size=48",
    "--pairs.crop=32",
    "--train.batch=2",
    "--train.precision=float32",
    "--train.log_every_images=2",
    "--optim.ramp_down=0",
    "--wandb.mode=off",
)


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all("time/data_wait_s" in line for line in lines if "train/loss" in line)
    return [line["train/loss"] for line in lines if "train/loss" in line]


def averaged(run: Path) -> dict[str, torch.Tensor]:
    saved = load_latest(RunDir(run))
    assert saved is not None
    tensors: dict[str, torch.Tensor] = saved["ema"]
    return tensors


def test_training_on_what_is_rendered_goes_on_exactly_and_on_ranks(
    render_set: Path, tmp_path: Path, run_verb: Any
) -> None:
    """Validated on a set as ever; stopped half-way and gone on with other workers; on two ranks but for rounding."""

    def train(run: str, images: int, *options: str, ranks: int = 0) -> None:
        words = (f"run={tmp_path / run}", *ONLINE, f"--train.images={images}", *options)
        done = run_verb("launch.train", *words, ranks=ranks)
        assert done.returncode == 0, done.stderr

    train("whole", 6, "--loader.workers=0", f"--data.validation={render_set}")
    train("half", 4, "--loader.workers=1")
    train("half", 6, "--loader.workers=2")
    assert len(losses(tmp_path / "whole")) == 3
    assert losses(tmp_path / "whole") == losses(tmp_path / "half")
    whole, half = averaged(tmp_path / "whole"), averaged(tmp_path / "half")
    assert all(torch.equal(half[name], tensor) for name, tensor in whole.items())
    assert "val/psnr_tonemapped_db" in (tmp_path / "whole/metrics.jsonl").read_text()

    train("ranks", 6, "--loader.workers=1", ranks=2)
    assert losses(tmp_path / "ranks") == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)
    ranks = averaged(tmp_path / "ranks")  # where gradients are tiny Adam makes rounding large; other data moved all
    moved = torch.cat([(ranks[name] - tensor).abs().flatten() for name, tensor in whole.items()])
    assert (moved > 1e-4).double().mean() < 0.02


def test_what_cannot_be_rendered_is_one_message(tmp_path: Path, run_verb: Any) -> None:
    scene = tmp_path / "ball.xml"
    scene.write_text(SCENE)
    run = tmp_path / "run"
    begun = ("--run", run, *ONLINE, f"--data.render={scene}", "--loader.workers=0")
    assert run_verb("launch.train", *begun, "--train.images=2").returncode == 0
    scene.write_text(SCENE.replace('"max_depth" value="3"', '"max_depth" value="4"'))
    other = ("--run", tmp_path / "other", *ONLINE)
    refused = {
        (*begun, "--train.images=4"): "trained on other data",
        (*other, "--data.train=somewhere"): "two things to train on",
        (*other, "--data.kind=pictures"): "nothing to train on",
        (*other, "--data.render="): "nothing to train on",
        (*other, "--pairs.target=clean"): "nothing clean is rendered",
        (*other, "--renders.importance=0.5"): "before their noise is known",
        (*other, "--data.render_spp=0"): "wanted at least 1",
        (*other, "--data.render_size=16"): "smaller than their crops",
        (*other, f"--data.render={tmp_path / 'none.xml'}"): "not a scene",
    }
    for options, message in refused.items():
        done = run_verb("launch.train", *options)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_or_robbed_of_its_renderer_it_ends_and_nothing_stays(
    number: signal.Signals, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    """SIGTERM and Ctrl-C go to the training; SIGKILL, as where memory runs out, to one of its renderers."""
    command = [sys.executable, "-m", "launch.train", "run=run", *ONLINE, "--train.images=100000", "--loader.workers=2"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=child_environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        written = tmp_path / "run/metrics.jsonl"
        while not (written.exists() and "train/loss" in written.read_text()):
            assert child.poll() is None, "ended before its first step"
            time.sleep(0.05)
        below = descendants(child.pid)
        rendering = [process for process in below if b"rendering.server" in (process / "cmdline").read_bytes()]
        assert len(rendering) == 2
        os.kill(int(rendering[0].name) if number == signal.SIGKILL else child.pid, number)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == {signal.SIGTERM: 0, signal.SIGINT: 130, signal.SIGKILL: 2}[number], errors
    assert "Traceback" not in errors
    if number == signal.SIGKILL:
        assert errors.count("error: the renderer ended") == 1
        assert "was killed by SIGKILL" in errors
    until = time.monotonic() + 20
    while left := [process for process in below if alive(process)]:
        assert time.monotonic() < until, f"left behind: {left}"
        time.sleep(0.05)


def descendants(parent: int) -> list[Path]:
    """Every process below one, those that have a session of their own too."""
    found = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in path.read_text().split():
            found += [Path("/proc") / child, *descendants(int(child))]
    return found
