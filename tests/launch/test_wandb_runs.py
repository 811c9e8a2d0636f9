"""Real offline W&B runs: what their records hold, after a resumption and after a kill, and what `wandb sync` says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entries = Callable[[Path], list[dict[str, Any]]]


def records(run: Path) -> list[Path]:
    return sorted((run / "wandb").glob("offline-run-*/*.wandb"))


def test_a_resumed_run_is_the_same_one(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str], wandb_records: Entries
) -> None:
    """Two records of one id, named and grouped as configured, which together have the numbers of metrics.jsonl.

    Without an account `wandb sync` finds them both and lacks nothing but a key.
    """
    run = tmp_path / "run"
    options = ("--wandb.mode=offline", "--wandb.name=first", "--wandb.group=tests", "--data.validation=")
    for images in (8, 16):
        done = run_verb("launch.train", "--run", run, *tiny, *options, f"--train.images={images}")
        assert done.returncode == 0, done.stderr
    first, second = records(run)
    assert first.name == second.name
    losses = []
    for record, images in ((first, 8), (second, 16)):
        entries = wandb_records(record)
        said = next(entry["run"] for entry in entries if entry["type"] == "run")
        assert (said["display_name"], said["run_group"], said["resume"]) == ("first", "tests", True)
        assert said["config"]["update"]["train"]["images"] == images
        assert said["config"]["update"]["pairs"]["crop"] == 32
        (axis,) = [entry["metric"] for entry in entries if entry["type"] == "metric"]
        assert (axis["glob_name"], axis["step_metric"]) == ("*", "images"), "every curve is drawn over images"
        about = next(entry["environment"] for entry in entries if entry["type"] == "environment")
        assert f"--train.images={images}" in about["args"]
        commit = json.loads((run / "about.json").read_text())["starts"][0]["git"].get("commit")
        assert about.get("git", {}).get("commit") == commit
        losses += [entry["history"]["item"]["train/loss"] for entry in entries if entry["type"] == "history"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses == [line["train/loss"] for line in lines]

    command = [sys.executable, "-m", "wandb", "sync", str(first.parent), str(second.parent)]
    keyless = child_environment | {"HOME": str(tmp_path)}
    began = time.monotonic()
    done = subprocess.run(command, env=keyless, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "Syncing 2 run(s)" in done.stderr + done.stdout
    assert "No API key" in done.stderr + done.stdout
    assert time.monotonic() - began < 30, "it must not ask or wait"


def test_a_kill_costs_the_last_second_at_most(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str], wandb_records: Entries
) -> None:
    run = tmp_path / "run"
    options = ("--wandb.mode=offline", "--data.validation=", "--train.images=100000", "--train.log_every_images=4")
    command = [sys.executable, "-m", "launch.train", "--run", str(run), *tiny, *options]
    with subprocess.Popen(
        command, cwd=tmp_path, env=child_environment, stderr=subprocess.DEVNULL, start_new_session=True
    ) as child:
        while not (run / "checkpoints" / "000000000040.pt").exists():
            assert child.poll() is None, "ended before its fifth checkpoint"
            time.sleep(0.01)
        known = (run / "metrics.jsonl").read_text().count("\n")
        time.sleep(1.5)  # W&B's process has a second to write, and a little to do it on a busy machine
        os.killpg(child.pid, signal.SIGKILL)
    (record,) = records(run)
    kept = [entry["history"]["item"] for entry in wandb_records(record) if entry["type"] == "history"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(kept) >= known >= 10
    assert [row["train/loss"] for row in kept] == [line["train/loss"] for line in lines[: len(kept)]]
