"""Training on renders: what is measured, what is refused, and that it resumes."""

import base64
import csv
import hashlib
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from launch.checkpoint import load_checkpoint, load_latest
from launch.evaluation.page import save_evaluation_page
from launch.evaluation.render_scores import RenderScore, frames_to_score, mean_score, score_frames
from launch.evaluation.renders import FRAMES
from launch.evaluation.scoreboard import save_csv
from launch.evaluation.scores import Evaluation
from launch.frame_denoiser import FrameDenoiser
from launch.objective import choose_render_loss
from launch.run_dir import RunDir
from model.hdr_metrics import tone_mapped
from model.light import in_radiance, radiance_of
from model.losses import LossConfig, relative_l2
from model.network import NetworkConfig
from model.unet import UNet
from pipeline.errors import BadInput
from pipeline.index import INDEX, MEMBERS, crc32, document_sha256
from pipeline.order import Order
from pipeline.pairs import PairsConfig
from pipeline.picture import from_unit
from pipeline.radiance import RendersConfig, logarithm, reinhard
from pipeline.realisations import RealisationSet
from pipeline.render_pairs import RenderPairDataset
from pipeline.sharding.tar_writer import BLOCK

SAID = ("train/loss", "val/psnr_tonemapped_db")


def test_a_run_says_how_it_does_in_the_terms_of_renders(render_run: Path) -> None:
    lines = [json.loads(line) for line in (render_run / "metrics.jsonl").read_text().splitlines()]
    (scores,) = [line for line in lines if "val/psnr_tonemapped_db" in line]
    assert scores.keys() >= {"val/psnr_noisy_tonemapped_db", "val/relative_mse", "val/smape", "val/energy_bias_percent"}
    assert all(np.isfinite(value) for value in scores.values())
    frames = [value for name, value in scores.items() if name.startswith("val/frame/")]
    assert len(frames) > 1
    assert np.mean(frames) == pytest.approx(scores["val/psnr_tonemapped_db"])


def test_the_pictures_of_a_run_are_tone_mapped(render_run: Path, render_options: tuple[str, ...]) -> None:
    (validation,) = [option.partition("=")[2] for option in render_options if option.startswith("--data.validation=")]
    frames = RealisationSet(Path(validation))
    first = next(sample for sample in range(len(frames)) if frames.has_reference(sample))
    reference = torch.from_numpy(frames.pixels(first, "reference").astype(np.float32))
    wanted = tone_mapped(reference).permute(1, 2, 0).numpy() * 255
    (path, *_) = (render_run / "pictures").glob("*.png")
    shown = np.asarray(Image.open(path).convert("RGB")).astype(np.float32)
    found = np.lib.stride_tricks.sliding_window_view(shown, wanted.shape)[:, :, 0]
    assert min(float(np.abs(window - wanted).max()) for row in found for window in row) <= 1
    linear = reference.clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert min(float(np.abs(window - linear).max()) for row in found for window in row) > 1


def test_a_resumed_run_equals_the_one_never_stopped(
    render_run: Path, render_options: tuple[str, ...], tmp_path: Path, run_verb: Any
) -> None:
    run = Path(shutil.copytree(render_run, tmp_path / "run"))
    newest = max((run / "checkpoints").glob("0*"))
    whole = load_latest(RunDir(render_run))
    newest.unlink()
    half = load_latest(RunDir(run))
    assert half is not None
    assert whole is not None
    assert half["images"] == 4
    done = run_verb("launch.train", "--run", run, *render_options, "--train.images=8")
    assert done.returncode == 0, done.stderr
    resumed = load_latest(RunDir(run))
    assert resumed is not None
    assert resumed["images"] == 8
    assert all(torch.equal(resumed["ema"][name], tensor) for name, tensor in whole["ema"].items())
    assert not all(torch.equal(half["ema"][name], tensor) for name, tensor in whole["ema"].items())


def test_ranks_change_results_by_rounding_alone(
    render_run: Path, render_options: tuple[str, ...], tmp_path: Path, run_verb: Any
) -> None:
    """At the same global batch, with the same validation."""
    short = [f"run={tmp_path / 'run'}", *render_options, "--train.images=8"]
    done = run_verb("launch.train", *short, ranks=2)
    assert done.returncode == 0, done.stderr
    one, two = load_latest(RunDir(render_run)), load_latest(RunDir(tmp_path / "run"))
    assert one is not None
    assert two is not None
    for part in ("network", "ema"):  # where gradients are tiny Adam makes rounding large; other data moved all weights
        moved = torch.cat([(two[part][name] - tensor).abs().flatten() for name, tensor in one[part].items()])
        assert (moved > 1e-4).double().mean() < 0.02
    lines = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (render_run, tmp_path / "run")
    ]
    losses, scores = ([[line[name] for line in run if name in line] for run in lines] for name in SAID)
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert scores[0] == pytest.approx(scores[1], abs=0.1)  # dB, after Adam has made rounding large


def spoil(folder: Path) -> None:
    """Write NaN into the first frame's colours as if it had been rendered so: all sums and hashes agree."""
    index = json.loads((folder / INDEX).read_text())
    members = np.load(folder / MEMBERS)
    for number in np.flatnonzero(members["buffer"] == b"color")[:2]:
        start, size = int(members[number]["offset"]), int(members[number]["size"])
        with open(folder / index["shardlist"][0]["url"], "r+b") as shard:
            shard.seek(start + size - 2000)
            shard.write(np.full(1000, np.nan, np.float16).tobytes())
            shard.seek(start - BLOCK)
            members["crc32"][number] = crc32(shard.read(BLOCK + size))
    np.save(folder / MEMBERS, members)
    index["members_sha256"] = hashlib.sha256((folder / MEMBERS).read_bytes()).hexdigest()
    index["index_sha256"] = document_sha256(index)
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize("ranks", [0, 2])
def test_nan_in_the_data_stops_with_the_place(
    render_set: Path, render_options: tuple[str, ...], tmp_path: Path, run_verb: Any, ranks: int
) -> None:
    """Making a set refuses it, so this one is forged. No checkpoint has it, and no rank waits for another."""
    spoilt = Path(shutil.copytree(render_set, tmp_path / "set"))
    spoil(spoilt)
    options = (*render_options, f"--data.train={spoilt}", "--data.validation=", "--train.images=400")
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *options, ranks=ranks)
    assert done.returncode == (1 if ranks else 2)
    assert done.stderr.count("the loss is not finite") == 1, done.stderr
    assert re.search(r"the step from image \d+ on", done.stderr)
    for path in (tmp_path / "run" / "checkpoints").glob("*.pt"):
        assert all(torch.isfinite(tensor).all() for tensor in load_checkpoint(path)["network"].values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network.in_channels=3"], "as many inputs"),
        (["--renders.buffers=[albedo,normal,depth]", "--network.in_channels=10"], "also depth"),
        (["--loss.name=l1"], "seeks the median"),
        (["--loss.name=masked_l2", "--loss.allow_biased=true"], "masked_l2"),
        (["--pairs.capture=fixed"], "no noise to draw"),
        (["--renders.buffers=[albedo,albedo]"], "wanted each once"),
    ],
)
def test_what_does_not_fit_renders_is_one_message(
    options: list[str], message: str, render_options: tuple[str, ...], tmp_path: Path, run_verb: Any
) -> None:
    done = run_verb("launch.train", "--run", tmp_path / "run", *render_options, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_sets_of_pictures_and_of_renders_are_told_apart(
    shards: Path, render_options: tuple[str, ...], render_set: Path, tmp_path: Path, run_verb: Any
) -> None:
    done = run_verb("launch.train", "--run", tmp_path / "a", *render_options, f"--data.train={shards}")
    assert done.returncode == 2
    assert "a set of single pictures" in done.stderr
    done = run_verb("launch.train", "--run", tmp_path / "b", f"--data.train={render_set}")
    assert done.returncode == 2
    assert "a set of renders" in done.stderr


def test_losses_of_renders() -> None:
    assert choose_render_loss(LossConfig(), "noisy") == "relative_l2"
    assert choose_render_loss(LossConfig(name="l2"), "noisy") == "l2"
    assert choose_render_loss(LossConfig(name="l1"), "clean") == "l1"
    assert choose_render_loss(LossConfig(name="l1", allow_biased=True), "noisy") == "l1"
    with pytest.raises(BadInput, match="only the mean is clean"):
        choose_render_loss(LossConfig(name="l0"), "noisy")


def test_the_reference_itself_scores_as_perfect_and_the_noisy_frame_as_noisy(render_set: Path) -> None:
    frames = RealisationSet(render_set)
    samples = frames_to_score(frames)
    assert len(samples) == 3
    same = mean_score(score_frames(lambda buffers, _: buffers["color"].astype(np.float32), frames, samples))
    assert same["psnr_tonemapped_db"] == same["psnr_noisy_tonemapped_db"]
    assert abs(same["energy_bias_percent"]) < 5 * 100 * np.sqrt(0.5 / (3 * 3 * 40 * 56)) * 1.5  # noise of mean one
    darker = mean_score(score_frames(lambda buffers, _: 0.5 * buffers["color"].astype(np.float32), frames, samples))
    assert darker["energy_bias_percent"] == pytest.approx((same["energy_bias_percent"] - 100) / 2, abs=1)


def test_ranks_share_the_frames_and_change_nothing(
    render_run: Path, render_set: Path, tmp_path: Path, run_verb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # of each process: another number of threads rounds differently
    tables = []
    for ranks in (0, 2):
        files = [option for name in ("json", "csv", "html") for option in (f"--{name}", tmp_path / f"{ranks}.{name}")]
        done = run_verb("launch.evaluate", render_run, "--data", render_set, *files, ranks=ranks)
        assert done.returncode == 0, done.stderr
        tables.append(done.stdout.replace(f"{ranks}.html", ""))
    assert tables[0] == tables[1]
    for name in ("json", "csv", "html"):
        assert (tmp_path / f"0.{name}").read_bytes() == (tmp_path / f"2.{name}").read_bytes()


def test_evaluate_scores_every_frame_that_has_a_reference(
    render_run: Path, render_set: Path, tmp_path: Path, run_verb: Any
) -> None:
    out, pictures = tmp_path / "scores.json", tmp_path / "pictures"
    done = run_verb("launch.evaluate", render_run, "--data", render_set, "--json", out, "--pictures", pictures)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert (document["pictures"], document["denoiser"]) == (render_set.name, render_run.name)
    assert sorted(row["name"] for row in document["images"]) == ["room0", "room1", "room2"]
    for name in ("psnr_tonemapped_db", "psnr_noisy_tonemapped_db", "relative_mse", "smape", "energy_bias_percent"):
        values = [row[name] for row in document["images"]]
        assert document["mean"][name] == pytest.approx(np.mean(values))
        assert document["ci95"][name] == pytest.approx(4.3027 * np.std(values, ddof=1) / np.sqrt(3), rel=1e-4)
    assert "mean" in done.stdout
    assert "95 % +-" in done.stdout
    assert len(list(pictures.iterdir())) == 3
    for refused in (("--images", tmp_path), ("--data", render_set, "--corruption", "gaussian")):
        done = run_verb("launch.evaluate", render_run, *refused)
        assert done.returncode == 2
        assert "not with renders" in done.stderr


def test_a_page_and_a_table_of_frames(render_run: Path, render_set: Path, tmp_path: Path, run_verb: Any) -> None:
    """Two denoisers of the same frames: a row each, their tone-mapped views, and the numbers of the JSON."""
    early = Path(shutil.copy(sorted((render_run / "checkpoints").glob("*.pt"))[0], tmp_path / "early.pt"))
    files = ("--json", "s.json", "--csv", "s.csv", "--html", "s.html", "--html-pictures", 2, "--pictures", "side")
    done = run_verb("launch.evaluate", render_run, early, "--data", render_set, *files)
    assert done.returncode == 0, done.stderr
    labels = ["renders", "early.pt"]
    scores = json.loads((tmp_path / "s.json").read_text())["denoisers"]
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["denoiser"], row["name"]) for row in rows] == [
        (label, frame["name"]) for label in labels for frame in scores[label]["images"]
    ]
    for row, frame in zip(rows, [frame for label in labels for frame in scores[label]["images"]], strict=True):
        assert all(float(row[name]) == value for name, value in frame.items() if name != "name")
    assert len(list((tmp_path / "side").iterdir())) == 3, "all denoisers of a frame in one picture"
    page = (tmp_path / "s.html").read_text()
    assert page.count("<tr") - page.count("<thead><tr") == 2 + 2 * 3
    entries = json.loads(re.search(r'id="pictures">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    ranked = sorted(scores["renders"]["images"], key=lambda frame: float(frame["psnr_tonemapped_db"]))
    assert [entry["name"] for entry in entries] == [ranked[0]["name"], ranked[2]["name"]], "the worst, the best"
    assert [view["label"] for view in entries[0]["views"]] == ["noisy", "by renders", "by early.pt", "reference"]
    assert entries[0]["views"][1]["note"] == f"{ranked[0]['psnr_tonemapped_db']:.2f} dB"
    frames = RealisationSet(render_set)
    sample = next(s for s in range(3) if frames.about(s)["source"] == ranked[0]["name"])
    for view, buffer in ((0, "color"), (3, "reference")):
        with Image.open(io.BytesIO(base64.b64decode(entries[0]["views"][view]["src"].partition(",")[2]))) as image:
            wanted = from_unit(reinhard(frames.pixels(sample, buffer).astype(np.float32)), 8).transpose(1, 2, 0)
            assert np.abs(np.asarray(image).astype(int) - wanted).max() <= 1


def test_a_number_that_a_frame_has_not_is_left_empty(tmp_path: Path) -> None:
    """A black frame has no bias, and equal ones have infinite decibels: no cell says `nan`, and means leave it out."""
    black = RenderScore("black", 20.0, math.inf, 0.1, 0.1, math.nan)
    evaluations = [Evaluation("d", "as rendered", [RenderScore("lit", 20.0, 30.0, 0.1, 0.1, -0.5), black])]
    save_csv(evaluations, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[-1] == "d,as rendered,black,20.0,inf,0.1,0.1,"
    save_evaluation_page(evaluations, [], "a set", tmp_path / "s.html", FRAMES)
    page = (tmp_path / "s.html").read_text()
    assert "nan" not in page
    assert '<td data-value="-1e9">-</td>' in page
    assert math.isnan(mean_score([black])["energy_bias_percent"])


def test_evaluate_puts_denoisers_side_by_side(
    render_run: Path, render_set: Path, shards: Path, tmp_path: Path, run_verb: Any
) -> None:
    pytest.importorskip("pyoidn")
    out = tmp_path / "scores.json"
    baselines = ("--baseline=oidn", "--baseline=oidn-color")
    done = run_verb("launch.evaluate", render_run, "--data", render_set, "--json", out, *baselines)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert list(document["denoisers"]) == ["renders", "oidn", "oidn-color"]
    assert document["denoisers"]["renders"] == {name: document[name] for name in ("mean", "ci95", "images")}
    for name in ("oidn", "oidn-color"):
        assert len(document["denoisers"][name]["images"]) == 3
        scores = document["denoisers"][name]["mean"]
        assert scores["psnr_tonemapped_db"] > scores["psnr_noisy_tonemapped_db"] + 2
        assert done.stdout.count(f" {name} ") == 3 + 2
    assert document["denoisers"]["oidn"]["mean"] != document["denoisers"]["oidn-color"]["mean"]
    done = run_verb("launch.evaluate", "--data", render_set, "--baseline=oidn-color")
    assert done.returncode == 0, done.stderr
    for data, baseline, message in (
        (render_set, "nlm", "not a baseline for renders"),
        (shards, "oidn", "a baseline for"),
    ):
        done = run_verb("launch.evaluate", "--data", data, f"--baseline={baseline}")
        assert done.returncode == 2, done.stderr
        assert message in done.stderr


def test_the_logarithm_that_is_shown_is_the_one_that_is_put_out() -> None:
    radiance = np.array([0, 0.001, 0.18, 1, 50, 500, 65504], np.float32)
    np.testing.assert_allclose(radiance_of(torch.from_numpy(logarithm(radiance))).numpy(), radiance, rtol=1e-4)


def test_a_draw_is_shown_as_training_sees_it(render_run: Path, render_set: Path, tmp_path: Path, run_verb: Any) -> None:
    config, out = render_run / "config.yaml", tmp_path / "pair.png"
    done = run_verb("pipeline.inspect", render_set, "--draw", 3, "--config", config, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "draw 3" in done.stdout
    frames = RealisationSet(render_set)
    renders = RendersConfig(transfer="log", buffers=("albedo", "normal"))
    pairs = RenderPairDataset(frames, Order(0, frames.samples_per_shard), PairsConfig(crop=32), renders, 0)
    source, target = pairs.batch([3])
    assert f"{target.min():+.3f} to {target.max():+.3f}" in done.stdout
    with Image.open(out) as image:
        drawn = np.asarray(image)[8 : 8 + 32]
    for number, planes in enumerate((*source[0].split(3), torch.from_numpy(reinhard(target[0].numpy())))):
        wanted = from_unit(planes.numpy(), 8).transpose(1, 2, 0)
        found = [x for x in range(drawn.shape[1] - 31) if (drawn[:, x : x + 32] == wanted).all()]
        assert len(found) == 1, f"view {number}"


def test_a_network_learns_from_noisy_renders_alone(render_set: Path) -> None:
    """A short training on pairs of renders comes closer to the references, which it never sees, and keeps the light."""
    frames = RealisationSet(render_set)
    renders = RendersConfig(buffers=("albedo", "normal"))
    pairs = RenderPairDataset(frames, Order(0, frames.samples_per_shard), PairsConfig(crop=32), renders, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = UNet(NetworkConfig(in_channels=9))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / 250)
        source, target = pairs.batch(range(4 * step, 4 * step + 4))
        loss = in_radiance(relative_l2)(net(source), target)
        optimizer.zero_grad()
        (loss.total / loss.elements).backward()
        optimizer.step()
    denoise = FrameDenoiser(net.eval(), renders, torch.device("cpu"))
    score = mean_score(score_frames(denoise, frames, frames_to_score(frames)))
    assert score["psnr_tonemapped_db"] > score["psnr_noisy_tonemapped_db"] + 2
    assert abs(score["energy_bias_percent"]) < 15
