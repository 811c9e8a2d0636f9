"""Evaluation by the published protocol, from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launch.evaluate import Score, mean_of
from model.metrics import psnr_db


def test_scores_of_a_run(run_verb: Any, trained: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--corruption", "gaussian", "--sigma-255", 25, "--json", out / "s.json", "--pictures", out / "side")
    done = run_verb("launch.evaluate", trained, "--images", pictures, *options)
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "s.json").read_text())
    names = [image["name"] for image in document["images"]]
    assert names == sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.*"))
    assert {"psnr_noisy_db", "psnr_db", "ssim"} <= document["mean"].keys()
    assert document["mean"]["psnr_noisy_db"] == pytest.approx(20.17, abs=0.1)
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
    assert "28.1" in done.stdout.splitlines()[-1], "sigma 10 is 28.13 dB"


def test_decibels_are_averaged_not_errors() -> None:
    scores = [Score("a", 20.0, 30.0, 0.5, 0.8), Score("b", 20.0, 40.0, 0.5, 0.9)]
    assert mean_of(scores)["psnr_db"] == 35


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--images", "none"], "no such source"),
        (["--images", ".", "--sigma-255", "-1"], "sigma_255"),
    ],
)
def test_bad_options_are_told(run_verb: Any, trained: Path, options: list[str], told: str) -> None:
    done = run_verb("launch.evaluate", trained, *options)
    assert done.returncode == 2
    assert told in done.stderr


def test_protocol_on_a_fixed_example() -> None:
    """Mean squared error 4 over all channels: 42.11 dB."""
    import torch

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
