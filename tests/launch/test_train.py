"""Training with real processes: ranks, resumption, failure."""

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pipeline.reader import ShardSet

ROOT = Path(__file__).parents[2]
TINIER = ("--pairs.crop=32", "--wandb.mode=offline", "--data.validation_pictures=2", "--loader.workers=0")


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in line.items() if not name.startswith(("time/", "memory/"))} for line in lines
    ]


def final(run: Path, name: str = "000000000024.pt") -> dict[str, Any]:
    document: dict[str, Any] = torch.load(run / "checkpoints" / name, weights_only=True)
    return document


def largest_difference(one: dict[str, Any], other: dict[str, Any], part: str) -> float:
    return max(float((one[part][name] - other[part][name]).abs().max()) for name in one[part])


def common_difference(one: dict[str, Any], other: dict[str, Any], part: str) -> float:
    """What all weights but one in a thousand stay within."""
    return float(
        torch.cat([(one[part][name] - other[part][name]).abs().flatten() for name in one[part]]).quantile(0.999)
    )


def test_a_run_explains_itself(trained: Path, shards: Path) -> None:
    about = json.loads((trained / "about.json").read_text())["starts"][0]
    assert about["data"]["samples_sha256"] == ShardSet(shards).index.samples_sha256
    assert {"command", "git", "versions", "world"} <= about.keys()
    assert "crop: 32" in (trained / "config.yaml").read_text()
    lines = metrics(trained)
    assert [line["images"] for line in lines if "train/loss" in line] == [4, 8, 12, 16, 20, 24]
    assert {"time/images_per_s", "train/lr"} <= lines[0].keys()
    waited = [lines[0][f"time/data_wait_{unit}"] for unit in ("s", "ms", "share")]
    assert waited[1] == pytest.approx(1000 * waited[0]), "a step of four images"
    assert 0 < waited[2] < 1
    assert [line["images"] for line in lines if "val/psnr_srgb8_db" in line] == [12, 24]
    assert sorted(path.name for path in (trained / "pictures").iterdir()) == ["000000000012.png", "000000000024.png"]
    with Image.open(trained / "pictures" / "000000000024.png") as panel:  # a row for each of three pictures
        assert panel.height > 3 * 48
        assert panel.width > 4 * 48


def test_a_checkpoint_is_tensors_and_numbers(trained: Path) -> None:
    document = final(trained)
    assert document["images"] == 24
    assert {"network", "ema", "optimizer", "config", "wandb_id"} <= document.keys()
    names = sorted(path.name for path in (trained / "checkpoints").iterdir())
    assert names == ["000000000016.pt", "000000000024.pt", "best.pt"]
    best = final(trained, "best.pt")
    said = [line["val/psnr_srgb8_db"] for line in metrics(trained) if "val/psnr_srgb8_db" in line]
    assert (best["val_metric"], -best["val_error"]) == ("psnr_srgb8_db", max(said))


def test_noise_of_the_device_and_several_crops_train_alike_on_two_ranks(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    """Dealt by lanes, and injected in the training process; stopped half-way on one rank and gone on with on two."""
    options = (*tiny, "--loader.inject=device", "--loader.crops_per_image=3")
    assert run_verb("launch.train", f"run={tmp_path / 'one'}", *options).returncode == 0
    assert run_verb("launch.train", f"run={tmp_path / 'two'}", *options, "--train.images=8").returncode == 0
    done = run_verb("launch.train", f"run={tmp_path / 'two'}", *options, "--loader.workers=0", ranks=2)
    assert done.returncode == 0, done.stderr
    one, two = final(tmp_path / "one"), final(tmp_path / "two")
    assert largest_difference(one, two, "network") < 1e-3
    losses = [
        [line["train/loss"] for line in metrics(tmp_path / run) if "train/loss" in line] for run in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.faults)])
def test_ranks_change_results_by_rounding_alone(
    run_verb: Any, tiny: tuple[str, ...], trained: Path, tmp_path: Path, ranks: int
) -> None:
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("done: 24 images") == 1, "rank 0 alone talks"
    one, several = final(trained), final(tmp_path / "run")
    # Adam divides by the gradient's size, so rounding moves the few weights with tiny gradients furthest: with four
    # ranks 74 of a million by more than 2e-4. Other data would move all of them by up to 6e-3, the sum of the rates.
    assert common_difference(one, several, "network") < 1e-4
    assert common_difference(one, several, "ema") < 1e-4
    assert common_difference(one, final(trained, "000000000016.pt"), "network") > 1e-4, "the twin: eight images less"
    losses = [
        [line["train/loss"] for line in metrics(run) if "train/loss" in line] for run in (trained, tmp_path / "run")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    validation = [[line for line in metrics(run) if "val/psnr_srgb8_db" in line] for run in (trained, tmp_path / "run")]
    assert [line["images"] for line in validation[0]] == [line["images"] for line in validation[1]]
    assert validation[0][-1]["val/psnr_srgb8_db"] == pytest.approx(validation[1][-1]["val/psnr_srgb8_db"], abs=1e-2)
    assert validation[0][-1]["val/psnr_noisy_srgb_db"] == pytest.approx(
        validation[1][-1]["val/psnr_noisy_srgb_db"], abs=1e-12
    )


@pytest.mark.faults
def test_ranks_that_share_out_lanes_change_results_by_rounding_alone(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    """One rank; two, stopped half-way and gone on with by one; and lanes are not to be changed on the way."""
    options = (*tiny, "--loader.lanes=4", "--loader.window=1")
    assert run_verb("launch.train", f"run={tmp_path / 'one'}", *options).returncode == 0
    begun = (f"run={tmp_path / 'two'}", *options, "--loader.workers=0")
    assert run_verb("launch.train", *begun, "--train.images=8", ranks=2).returncode == 0
    other = run_verb("launch.train", *begun, "--loader.lanes=2")
    assert other.returncode == 2
    assert "loader.lanes: 4 -> 2" in other.stderr
    done = run_verb("launch.train", *begun, "--loader.workers=3")
    assert done.returncode == 0, done.stderr
    one, two = final(tmp_path / "one"), final(tmp_path / "two")
    assert largest_difference(one, two, "network") < 1e-3
    losses = [
        [line["train/loss"] for line in metrics(tmp_path / run) if "train/loss" in line] for run in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_lanes_that_do_not_fit_are_refused(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    for option, what in (("--loader.lanes=3", "do not fit"), ("--loader.lanes=400", "fewer shards than lanes")):
        done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, option)
        assert done.returncode == 2
        assert what in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["bernoulli", pytest.param("mri", marks=pytest.mark.faults)])
def test_ranks_do_not_change_what_masks_and_frequencies_teach(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    """Both take more than source and target to the loss: a mask over all ranks, the frequencies of one's own."""
    for ranks in (0, 2):
        done = run_verb("launch.train", f"run={tmp_path / str(ranks)}", *tiny, f"corruption.name={name}", ranks=ranks)
        assert done.returncode == 0, done.stderr
    one, two = final(tmp_path / "0"), final(tmp_path / "2")
    # Of tiny gradients Adam makes much of the rounding: another number of threads moves them as far as this.
    moved = torch.cat([(one["network"][key] - two["network"][key]).flatten() for key in one["network"]])
    assert float(moved.abs().mean()) < 1e-4
    losses = [[line["train/loss"] for line in metrics(tmp_path / run) if "train/loss" in line] for run in ("0", "2")]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    last = [[line for line in metrics(tmp_path / run) if "val/psnr_srgb8_db" in line][-1] for run in ("0", "2")]
    assert last[0]["val/psnr_noisy_srgb_db"] == pytest.approx(last[1]["val/psnr_noisy_srgb_db"], abs=1e-12)
    assert last[0]["val/psnr_srgb8_db"] == pytest.approx(last[1]["val/psnr_srgb8_db"], abs=5e-2)


def test_killed_and_run_again_equals_never_killed(
    run_verb: Any, tiny: tuple[str, ...], trained: Path, tmp_path: Path, child_environment: dict[str, str]
) -> None:
    """SIGKILL after the first checkpoint; then the same command, with other workers; bit for bit."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "launch.train", "--run", str(run), *tiny]
    child = subprocess.Popen(
        command, cwd=tmp_path, env=child_environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    first = run / "checkpoints" / "000000000008.pt"
    while not first.exists():
        assert child.poll() is None, "ended before its first checkpoint"
        time.sleep(0.005)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not (run / "checkpoints" / "000000000024.pt").exists(), "finished before it was killed"

    done = run_verb("launch.train", "--run", run, *tiny, "--loader.workers=0")
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr
    whole, resumed = final(trained), final(run)
    assert largest_difference(whole, resumed, "network") == 0
    assert largest_difference(whole, resumed, "ema") == 0
    for number, state in whole["optimizer"]["state"].items():
        assert all(torch.equal(state[name], resumed["optimizer"]["state"][number][name]) for name in state)
    assert without_times(metrics(run)) == without_times(metrics(trained))


def test_muon_resumes_to_the_bit_and_ranks_change_it_by_rounding(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    options = (*tiny, "--optim.name=muon", "--optim.ramp_down=0")
    for run, more, ranks in (
        ("whole", (), 0),
        ("halves", ("--train.images=12",), 0),
        ("halves", ("--loader.workers=0",), 0),
        ("two", (), 2),
    ):
        done = run_verb("launch.train", f"run={tmp_path / run}", *options, *more, ranks=ranks)
        assert done.returncode == 0, done.stderr
    whole, halves, two = (final(tmp_path / run) for run in ("whole", "halves", "two"))
    assert len(whole["muon"]["state"]) > 10
    for part in ("network", "ema"):
        assert largest_difference(whole, halves, part) == 0
    for number, state in whole["muon"]["state"].items():
        assert torch.equal(state["momentum"], halves["muon"]["state"][number]["momentum"])
    assert largest_difference(whole, two, "network") < 1e-3
    done = run_verb("launch.train", f"run={tmp_path / 'whole'}", *tiny, "--optim.ramp_down=0")
    assert done.returncode == 2
    assert "optim.name: muon -> adam" in done.stderr


def test_a_finished_run_has_nothing_to_do(run_verb: Any, tiny: tuple[str, ...], trained: Path) -> None:
    before = (trained / "metrics.jsonl").read_bytes()
    done = run_verb("launch.train", "--run", trained, *tiny)
    assert done.returncode == 0, done.stderr
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_another_configuration_is_refused(run_verb: Any, tiny: tuple[str, ...], trained: Path) -> None:
    done = run_verb("launch.train", "--run", trained, *tiny, "--optim.lr=0.5")
    assert done.returncode == 2
    assert "optim.lr: 0.001 -> 0.5" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_data_is_refused(run_verb: Any, tiny: tuple[str, ...], trained: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "other.png")
    assert run_verb("pipeline.shard", "in", "--out", "other").returncode == 0
    done = run_verb("launch.train", "--run", trained, *tiny, "--data.train=other")
    assert done.returncode == 2
    assert "trained on other data" in done.stderr


def test_a_missing_validation_set_is_told_at_the_start(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    done = run_verb("launch.train", "--run", tmp_path / "run", *tiny, "--data.validation=none")
    assert done.returncode == 2
    assert "no such source" in done.stderr
    assert not (tmp_path / "run").exists()


def test_ctrl_c_stops_quietly(tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "launch.train", "--run", "run", *tiny, "--train.images=100000"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=child_environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        while not (tmp_path / "run" / "checkpoints" / "000000000008.pt").exists():
            assert child.poll() is None, "ended before its first checkpoint"
            time.sleep(0.01)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the whole group, workers too
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "run the same command again" in errors
    assert "Traceback" not in errors


def test_a_cut_checkpoint_gives_way_to_the_one_before(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path, trained: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    newest = run / "checkpoints" / "000000000024.pt"
    newest.write_bytes(newest.read_bytes()[:100_000])
    done = run_verb("launch.train", "--run", run, *tiny)
    assert done.returncode == 0, done.stderr
    assert "passing over a checkpoint" in done.stderr
    assert "resuming" in done.stderr
    assert largest_difference(final(trained), final(run), "network") == 0


def test_a_loss_that_is_not_finite_stops_before_the_step(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path, wandb_entries: Any
) -> None:
    """And W&B has an alert, the end of a failed run, and by its configuration only what artifacts are called."""
    run = tmp_path / "run"
    options = ("--optim.lr=1e12", "--train.checkpoint_every_images=4", "--wandb.mode=offline")
    done = run_verb("launch.train", "--run", run, *tiny, *options)
    assert done.returncode == 2
    assert "the loss is not finite" in done.stderr
    newest = sorted((run / "checkpoints").iterdir())[-1].name
    assert all(torch.isfinite(tensor).all() for tensor in final(run, newest)["network"].values())
    entries = {entry["type"]: entry for entry in wandb_entries(run)}
    assert entries["alert"]["alert"]["title"] == "training diverged"
    assert "the step from image" in entries["alert"]["alert"]["text"]
    assert entries["exit"]["exit"]["exit_code"] == 2
    assert "contents" not in entries["artifact"]["artifact"]["manifest"], "metadata alone"


def test_an_agent_of_a_sweep_runs_it(tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]) -> None:
    """The command of configs/sweep.yaml with its macros filled in by W&B's own code, run as its agent does."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = yaml.safe_load((ROOT / "configs" / "sweep.yaml").read_text())
    chosen = {"optim.lr": {"value": 5e-4}, "train.batch": {"value": 8}}
    assert chosen.keys() == sweep["parameters"].keys()
    arguments = utils.create_sweep_command_args({"args": chosen})["args"]
    command = [utils.create_sweep_command(sweep["command"]), [*arguments, "--train.images=16", *TINIER]]
    words = [word for word in command[0] if word != "${args}"] + command[1]
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "n2n").write_text(f'#!/bin/sh\nexec {sys.executable} -m launch.cli "$@"\n')
    (tmp_path / "n2n").chmod(0o755)
    data = {"DATA": tiny[0].split("=")[1], "VALIDATION": tiny[1].split("=")[1], "WANDB_RUN_ID": "abc123"}
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        words, cwd=tmp_path, env=child_environment | data | path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "sweep" / "abc123"
    assert final(run, "000000000016.pt")["wandb_id"] == "abc123"
    config = final(run, "000000000016.pt")["config"]
    assert (config["optim"]["lr"], config["train"]["batch"]) == (5e-4, 8)
    assert sweep["metric"]["name"] in metrics(run)[-1]


def test_a_batch_that_ranks_do_not_divide_is_told_once(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, "--train.batch=5", ranks=2)
    assert done.returncode != 0
    assert done.stderr.count("does not divide over the ranks") == 1
    assert "exitcode  : 2" in done.stderr
    assert not (tmp_path / "run").exists()


def test_one_rank_s_fault_stops_all_with_its_message(
    run_verb: Any, tiny: tuple[str, ...], own_shards: Path, flip_bit: Callable[[Path, int], None], tmp_path: Path
) -> None:
    opened = ShardSet(own_shards)
    row = opened.table[0]
    flip_bit(own_shards / opened.index.shards[int(row["shard"])].name, int(row["offset"]) + 60)
    began = time.monotonic()
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, f"--data.train={own_shards}", ranks=2)
    assert done.returncode != 0
    assert done.stderr.count("a damaged sample") == 1
    assert "sample 0 (" in done.stderr
    assert "of 2: a damaged sample" in done.stderr
    assert time.monotonic() - began < 120, "the other rank must not wait for its time-out"


def test_training_denoises(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """A learning test: 800 small pairs of noisy views take at least 3 dB of noise away."""
    options = ("--train.images=800", "--train.validate_every_images=800", "--train.log_every_images=200")
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, *options, "--train.checkpoint_every_images=800")
    assert done.returncode == 0, done.stderr
    last = [line for line in metrics(tmp_path / "run") if "val/psnr_srgb8_db" in line][-1]
    assert last["val/psnr_srgb8_db"] > last["val/psnr_noisy_srgb_db"] + 3


def test_offline_tracking_has_the_same_numbers(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path, wandb_history: Any, wandb_entries: Any, shards: Path
) -> None:
    """A real offline W&B run, read back with W&B's own inspector; `online` goes there by itself without a key."""
    run = tmp_path / "run"
    options = ("--wandb.mode=online", "--wandb.histograms_every_images=12", "--wandb.artifacts=full")
    done = run_verb("launch.train", "--run", run, *tiny, *options)
    assert done.returncode == 0, done.stderr
    assert "tracked offline" in done.stderr
    (record,) = (run / "wandb").glob("offline-run-*/*.wandb")
    losses = [row["train/loss"] for row in wandb_history(run) if "train/loss" in row]
    assert losses == [line["train/loss"] for line in metrics(run) if "train/loss" in line]
    assert final(run)["wandb_id"] == record.stem.removeprefix("run-")

    counted = [row for row in wandb_history(run) if "weights/enc_conv0.weight.values" in row]
    assert [row["images"] for row in counted] == [12, 24]
    weights = final(run)["network"]["enc_conv0.weight"]
    for row in counted:
        assert sum(row["weights/enc_conv0.weight.values"]) == weights.numel()
        assert sum(row["gradients/dec_conv1c.bias.values"]) == 3
    assert counted[1]["weights/enc_conv0.weight.bins"][0] == pytest.approx(float(weights.min()))

    kept = {entry["artifact"]["type"]: entry["artifact"] for entry in wandb_entries(run) if entry["type"] == "artifact"}
    hashed = ShardSet(shards).index.samples_sha256
    assert json.loads(kept["dataset"]["metadata"])["samples_sha256"] == hashed
    assert [file["path"] for file in kept["dataset"]["manifest"]["contents"]] == ["index.json"]
    best = json.loads(kept["model"]["metadata"])
    assert best["data_sha256"] == hashed
    assert best["sha256"] == hashlib.sha256((run / "checkpoints" / "best.pt").read_bytes()).hexdigest()
    assert best["val_error"] == final(run, "best.pt")["val_error"]
    assert [file["path"] for file in kept["model"]["manifest"]["contents"]] == ["best.pt"]


def test_every_interval_in_minutes(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path, wandb_history: Any) -> None:
    """None in images; rank 0's clock decides for two ranks, which would hang if each went by its own."""
    often = {"log": 0.002, "validate": 0.004, "checkpoint": 0.004}
    options = [f"--train.{what}_every_images=0" for what in often]
    options += [f"--train.{what}_every_minutes={minutes}" for what, minutes in often.items()]
    options += ["--wandb.mode=offline", "--wandb.histograms_every_images=0", "--wandb.histograms_every_minutes=0.004"]
    options += ["--data.validation_pictures=1"]
    run = tmp_path / "run"
    done = run_verb("launch.train", f"run={run}", *tiny, *options, "--train.images=120", ranks=2)
    assert done.returncode == 0, done.stderr
    lines = metrics(run)
    logged, validated = (
        [line["images"] for line in lines if name in line] for name in ("train/loss", "val/ssim_srgb8")
    )
    assert len(logged) > 3
    assert len(validated) > 1
    assert logged[-1] == validated[-1] == 120
    assert len(list((run / "checkpoints").glob("[0-9]*.pt"))) == 2
    assert any("weights/enc_conv0.weight.values" in row for row in wandb_history(run))
    assert all(0.05 < line["memory/peak_gb"] < 100 for line in lines if "train/loss" in line)


def test_a_terminal_has_one_live_line_and_a_file_plain_ones(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]
) -> None:
    """First what will happen, last what did; on a terminal a line is drawn over itself between them."""
    command = [sys.executable, "-m", "launch.train", *tiny, "--data.validation="]
    told = []
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    for name, place in (("terminal", theirs), ("file", subprocess.PIPE)):
        with subprocess.Popen(
            [*command, "--run", name], cwd=tmp_path, env=child_environment, stderr=place, stdout=subprocess.PIPE
        ) as child:
            if name == "terminal":
                os.close(theirs)
                told.append(read_terminal(ours))
            else:
                told.append(child.communicate()[1].decode())
        assert child.returncode == 0, told
    terminal, file = told
    assert "\r" not in file
    assert terminal.count("\r") > 4
    assert "24/24" in terminal
    for text in told:
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip() and "img" not in line]
        assert lines[0].startswith("training 991203 parameters on 12 pictures"), text
        assert lines[-1].startswith("done: 24 images"), text
        waits = re.findall(r"data wait (\d+\.\d) ms, (\d+\.\d)% of a step", text)
        assert len(waits) == 6, text


def read_terminal(end: int) -> str:
    """All that is written to a terminal until its other end is closed."""
    text = b""
    with contextlib.suppress(OSError):  # which is how it ends
        while piece := os.read(end, 65536):
            text += piece
    os.close(end)
    return text.decode()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_on_the_same_pairs(
    run_verb: Any, tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first loss, before any step, agrees with the CPU's to the rounding of its convolutions."""
    firsts = []
    for devices in ("0", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
        done = run_verb("launch.train", f"run={tmp_path / ('gpu' + devices)}", *tiny)
        assert done.returncode == 0, done.stderr
        firsts.append(metrics(tmp_path / ("gpu" + devices))[0]["train/loss"])
    assert firsts[0] == pytest.approx(firsts[1], rel=1e-3)
