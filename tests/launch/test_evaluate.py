"""Evaluation by the published protocol, from the command line."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from launch.denoiser import Denoiser, Inference
from launch.evaluation.baselines import baseline
from launch.evaluation.scores import Score, interval_of, mean_of, measure
from model.metrics import psnr_db
from pipeline.corruption import PUBLISHED_TEST, CorruptionConfig, corrupt
from pipeline.dead_leaves import dead_leaves
from pipeline.gallery import Gallery
from pipeline.randomness import name_generator


def test_scores_of_a_run(run_verb: Any, trained: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--corruption", "gaussian", "--sigma-255", 25, "--json", out / "s.json", "--pictures", out / "side")
    done = run_verb("launch.evaluate", trained, "--images", pictures, *options)
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "s.json").read_text())
    names = [image["name"] for image in document["images"]]
    assert names == sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.*"))
    assert {"psnr_noisy_srgb_db", "psnr_srgb8_db", "ssim_srgb8"} <= document["mean"].keys()
    assert document["mean"]["psnr_noisy_srgb_db"] == pytest.approx(20.17, abs=0.1)
    with Image.open((out / "side" / names[0]).with_suffix(".png")) as side:
        assert side.width > 3 * 48
    assert "mean" in done.stdout


def test_test_noise_is_the_picture_s_own(run_verb: Any, trained: Path, pictures: Path, tmp_path: Path) -> None:
    """The same scores again, and for a picture whose neighbours are not there."""
    run_verb("launch.evaluate", trained, "--images", pictures, "--json", tmp_path / "all.json")
    run_verb("launch.evaluate", trained, "--images", pictures, "--limit", 2, "--json", tmp_path / "two.json")
    every, two = (json.loads((tmp_path / name).read_text())["images"] for name in ("all.json", "two.json"))
    assert every[:2] == two


def test_a_checkpoint_and_a_shard_set_are_named_as_well(
    run_verb: Any, trained: Path, shards: Path, tmp_path: Path
) -> None:
    checkpoint = trained / "checkpoints" / "000000000024.pt"
    done = run_verb("launch.evaluate", checkpoint, "--images", shards, "--limit", 3, "--sigma-255", 10)
    assert done.returncode == 0, done.stderr
    assert "28.1" in next(line for line in done.stdout.splitlines() if line.startswith("mean")), "sigma 10 is 28.13 dB"


def test_decibels_are_averaged_not_errors() -> None:
    scores = [Score("a", 20.0, 30.0, 0.5, 0.8), Score("b", 20.0, 40.0, 0.5, 0.9)]
    assert mean_of(scores)["psnr_srgb8_db"] == 35


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--images", "none"], "no such source"),
        (["--images", ".", "--sigma-255", "-1"], "sigma_255"),
        (["--images", ".", "--corruption", "gausian"], "no such corruption"),
        (["--data", "."], "not a finished shard set"),
    ],
)
def test_bad_options_are_told(run_verb: Any, trained: Path, options: list[str], told: str) -> None:
    done = run_verb("launch.evaluate", trained, *options)
    assert done.returncode == 2
    assert told in done.stderr


def test_protocol_on_a_fixed_example() -> None:
    """Mean squared error 4 over all channels: 42.11 dB."""
    clean = torch.from_numpy(np.full((3, 2, 2), 100, np.float32))
    assert psnr_db(clean + 2, clean) == pytest.approx(42.1102, abs=1e-4)


def test_the_run_s_own_noise_is_the_default(
    run_verb: Any, tiny: tuple[str, ...], pictures: Path, tmp_path: Path
) -> None:
    options = ("--corruption.name=bernoulli", "--train.images=4", "--data.validation=")
    assert run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, *options).returncode == 0
    done = run_verb("launch.evaluate", tmp_path / "run", "--images", pictures, "--limit", 1, "--json", "own.json")
    assert done.returncode == 0, done.stderr
    asked = ("--corruption", "bernoulli", "--json", "asked.json")
    run_verb("launch.evaluate", tmp_path / "run", "--images", pictures, "--limit", 1, *asked)
    assert (tmp_path / "own.json").read_bytes() == (tmp_path / "asked.json").read_bytes()


def two_runs(trained: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The trained run, and its first checkpoint as a denoiser of its own."""
    return trained, Path(shutil.copy(sorted((trained / "checkpoints").glob("*.pt"))[0], tmp_path / "early.pt"))


def test_several_denoisers_and_noises_in_one_call(run_verb: Any, trained: Path, pictures: Path, tmp_path: Path) -> None:
    runs = two_runs(trained, tmp_path)
    noises = ("--corruption", "gaussian:sigma_255=50", "--corruption", "poisson")
    done = run_verb(
        "launch.evaluate", *runs, "--images", pictures, "--limit", 3, *noises, "--json", "s.json", "--csv", "s.csv"
    )
    assert done.returncode == 0, done.stderr
    evaluations = json.loads((tmp_path / "s.json").read_text())["evaluations"]
    assert [(e["denoiser"], e["noise"]) for e in evaluations] == [
        (label, noise) for noise in ("gaussian sigma_255=50", "poisson photons=30") for label in ("trained", "early.pt")
    ]
    # The two see the same noisy pictures, and one of them alone gives the numbers that it gives in company.
    assert evaluations[0]["mean"]["psnr_noisy_srgb_db"] == evaluations[1]["mean"]["psnr_noisy_srgb_db"]
    assert evaluations[0]["images"] != evaluations[1]["images"]
    alone = ("--images", pictures, "--limit", 3, "--corruption", "poisson", "--json", "alone.json")
    assert run_verb("launch.evaluate", runs[1], *alone).returncode == 0
    assert json.loads((tmp_path / "alone.json").read_text())["images"] == evaluations[3]["images"]
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert float(rows[3]["psnr_srgb8_db"]) == evaluations[1]["images"][0]["psnr_srgb8_db"]
    assert len(done.stdout.splitlines()) == 5, "a line each, and a heading"


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.faults), 3])
def test_ranks_share_the_pictures_and_change_nothing(
    run_verb: Any, trained: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    """Bit for bit at equal threads a rank; the convolutions of other numbers of threads differ in their last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    options = ("--images", pictures, "--limit", 5, "--corruption", "gaussian", "--corruption", "text")
    for number in (0, ranks):
        names = ("--json", f"{number}.json", "--csv", f"{number}.csv", "--pictures", f"side{number}")
        names += ("--html", f"{number}.html", "--html-pictures", 2)
        done = run_verb("launch.evaluate", trained, *options, *names, ranks=number)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("denoiser") == 1, "rank 0 alone talks"
    for suffix in ("json", "csv", "html"):
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"{ranks}.{suffix}").read_bytes()
    assert folder_bytes(tmp_path / "side0") == folder_bytes(tmp_path / f"side{ranks}")


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_one_message_from_all_ranks(run_verb: Any, trained: Path, pictures: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "in"))
    (folder / "class0" / "a.png").write_bytes(b"no picture")
    done = run_verb("launch.evaluate", trained, "--images", folder, ranks=2)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "not a readable picture" in done.stderr


def test_the_interval_is_student_s() -> None:
    """Of 1, 2, 3, 4: standard deviation 1.29099, t(3) = 3.18245, so 2.05426. No interval of one, or of infinity."""
    scores = [Score("", 20.0, float(n), 0.5, 0.5) for n in (1, 2, 3, 4)]
    assert interval_of(scores)["psnr_srgb8_db"] == pytest.approx(2.054260, abs=1e-5)
    assert not interval_of(scores[:1])
    assert "psnr_srgb8_db" not in interval_of([*scores, Score("", 20.0, math.inf, 0.5, 1.0)])


def test_baselines_stand_in_the_same_table(run_verb: Any, trained: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    options = ("--limit", 2, "--corruption", "gaussian", "--corruption", "poisson", "--json", "s.json")
    done = run_verb("launch.evaluate", trained, "--images", pictures, "--baseline", "nlm", *options)
    assert done.returncode == 0, done.stderr
    evaluations = json.loads((tmp_path / "s.json").read_text())["evaluations"]
    assert [e["denoiser"] for e in evaluations] == ["trained", "nlm"] * 2
    assert evaluations[1]["mean"]["psnr_srgb8_db"] > evaluations[1]["mean"]["psnr_noisy_srgb_db"] + 2
    # A baseline needs no run beside it.
    alone = run_verb("launch.evaluate", "--images", pictures, "--baseline", "nlm", "--limit", 1)
    assert alone.returncode == 0, alone.stderr


def test_bm3d_denoises_and_does_better_than_non_local_means() -> None:
    """Of sigma 25 on dead leaves: 20.2 dB; 30.0 by BM3D, 29.2 by non-local means. Of a wrong sigma BM3D leaves 20.3."""
    pytest.importorskip("bm3d")
    pytest.importorskip("skimage")
    clean = torch.from_numpy(dead_leaves(48, np.random.default_rng(1)).transpose(2, 0, 1).astype(np.float32) / 255)
    corruption = CorruptionConfig(sigma_255=25)
    noisy = corrupt(clean, corruption, name_generator(0, "dead leaves")).pixels
    given = noisy.clone()
    scores = {name: psnr_db(baseline(name, corruption)(noisy) * 255, clean * 255) for name in ("bm3d", "nlm")}
    assert torch.equal(noisy, given)
    assert scores["bm3d"] > psnr_db(noisy * 255, clean * 255) + 8
    assert scores["bm3d"] > scores["nlm"] + 0.3


@pytest.mark.parametrize(
    ("options", "told"),
    [([], "nothing to measure"), (["--self-ensemble", "--baseline", "nlm"], "a self-ensemble of nothing")],
)
def test_nothing_to_measure_is_told(run_verb: Any, pictures: Path, options: list[str], told: str) -> None:
    done = run_verb("launch.evaluate", "--images", pictures, *options)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_self_ensemble_is_measured_as_such(run_verb: Any, trained: Path, pictures: Path, tmp_path: Path) -> None:
    """Named with a plus, and better than one view: by 0.6 dB of this network, which has hardly begun to learn."""
    scores = []
    for option in ([], ["--self-ensemble"]):
        options = ("--limit", 2, "--json", "s.json", *option)
        assert run_verb("launch.evaluate", trained, "--images", pictures, *options).returncode == 0
        scores.append(json.loads((tmp_path / "s.json").read_text()))
    assert [score["denoiser"] for score in scores] == ["trained", "trained+"]
    assert scores[1]["mean"]["psnr_srgb8_db"] > scores[0]["mean"]["psnr_srgb8_db"] + 0.3
    denoiser = Denoiser.load(trained, inference=Inference(self_ensemble=True))
    gallery = Gallery(pictures, 2)
    score, _ = measure({"one": denoiser}, gallery, gallery.names[0], PUBLISHED_TEST["gaussian"])
    assert score["one"].psnr_srgb8_db == pytest.approx(scores[1]["images"][0]["psnr_srgb8_db"], abs=1e-3)
