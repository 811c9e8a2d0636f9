"""The error without a clean picture agrees with the true one, which these tests know, and is refused where it lies."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from launch.denoiser import Denoiser
from launch.unbiased import SceneError, Scenes, scene_errors, summary, unbiased
from tests.conftest import make_scenes, noisy_shots


def smooth(noisy: Tensor) -> Tensor:
    """A denoiser that errs in both ways: it leaves noise, and it blurs."""
    return avg_pool2d(noisy[None], 3, 1, 1, count_include_pad=False)[0]


def difference(errors: list[SceneError], name: str = "unbiased_mse") -> tuple[float, float]:
    """Mean over scenes of estimate less truth, and its standard error."""
    gaps = np.array([getattr(error, name) - error.mse for error in errors])
    return float(gaps.mean()), float(gaps.std(ddof=1) / math.sqrt(len(gaps)))


def scene_set(folder: Path, shots: list[list[np.ndarray]], clean: list[np.ndarray]) -> Scenes:
    return Scenes(make_scenes(folder, shots, clean, mode="keep"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """Sixteen scenes of 2 to 4 shots whose noises have different strengths within a scene."""
    made = []
    for seed in range(16):
        shots, clean = noisy_shots(seed, 2 + seed % 3)
        weak = np.round(clean + 0.4 * (shots[0].astype(float) - clean)).astype(np.uint16)
        made.append(([weak, *shots[1:]], clean))
    return scene_set(tmp_path_factory.mktemp("many"), [shots for shots, _ in made], [clean for _, clean in made])


def test_the_estimate_agrees_with_the_truth_within_three_errors(many: Scenes) -> None:
    errors = scene_errors(smooth, many)
    gap, error = difference(errors)
    assert abs(gap) < 3 * error
    mean = np.mean([e.mse for e in errors])
    assert error < 0.05 * mean  # so that the agreement says something


def test_without_the_subtraction_it_does_not(many: Scenes) -> None:
    gap, error = difference(scene_errors(smooth, many), "noisy_target_mse")
    assert gap > 3 * error


def test_with_shots_that_share_noise_it_does_not(tmp_path: Path) -> None:
    made = []
    for seed in range(12):
        shots, clean = noisy_shots(seed, 3)
        mixed = [np.round(0.6 * a.astype(float) + 0.4 * shots[2]).astype(np.uint16) for a in shots[:2]]
        made.append((mixed, clean))
    scenes = scene_set(tmp_path, [shots for shots, _ in made], [clean for _, clean in made])
    gap, error = difference(scene_errors(smooth, scenes))
    assert gap > 3 * error  # half of (a - b)^2 has lost what is shared, and too little is subtracted


def test_the_standard_error_is_that_of_the_mean_over_scenes(many: Scenes) -> None:
    errors = scene_errors(smooth, many)
    said = unbiased(errors)
    values = np.array([error.unbiased_mse for error in errors])
    assert said["unbiased_mse"] == pytest.approx(values.mean())
    assert said["unbiased_mse_se"] == pytest.approx(values.std(ddof=1) / 4)
    assert said["unbiased_psnr_db"] == pytest.approx(-10 * math.log10(values.mean()))


def test_a_perfect_denoiser_has_no_error_and_the_estimate_may_be_negative() -> None:
    errors = [SceneError("a", 0.01, -1e-5, 0.01, None, None), SceneError("b", 0.01, 0.5e-5, 0.01, None, None)]
    said = summary(errors, {})
    assert said["unbiased_mse"] < 0
    assert "unbiased_psnr_db" not in said
    assert "mse" not in said


def test_it_is_refused_where_shots_are_dependent(tmp_path: Path) -> None:
    shots, clean = noisy_shots(3, 2, size=128)
    scenes = scene_set(tmp_path, [[shots[0], shots[0]], noisy_shots(4, 2, size=128)[0]], [clean, clean])
    assert list(scenes.dependent) == ["scene00"]
    said = summary(scene_errors(smooth, scenes), scenes.dependent)
    assert not any(name.startswith("unbiased") for name in said)
    assert "noisy_target_mse" in said
    assert "mse" in said


TRAINING = (
    *("--corruption.name=none", "--pairs.crop=32", "--train.batch=4", "--train.images=16", "--wandb.mode=off"),
    *("--train.precision=float32", "--train.log_every_images=4", "--train.checkpoint_every_images=8"),
    *("--train.validate_every_images=8", "--loader.workers=1"),
)


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if not name.startswith(("time/", "memory/"))} for line in lines
    ]


def test_training_reports_it_and_resumes_exactly(
    run_verb: Any, referenced: Path, tmp_path: Path, wandb_history: Any
) -> None:
    data = (f"--data.train={referenced}", f"--data.validation={referenced}")
    whole = run_verb("launch.train", "--run", tmp_path / "whole", *data, *TRAINING, "--wandb.mode=offline")
    assert whole.returncode == 0, whole.stderr
    said = [line for line in metrics(tmp_path / "whole") if "val/unbiased_mse" in line]
    assert [line["images"] for line in said] == [8, 16]
    tracked = [row for row in wandb_history(tmp_path / "whole") if "val/unbiased_mse" in row]
    for name in ("val/unbiased_mse", "val/unbiased_mse_se", "val/unbiased_psnr_db"):
        assert [row[name] for row in tracked] == [line[name] for line in said]
    assert said[0]["val/unbiased_mse"] == pytest.approx(said[0]["val/mse"], rel=0.2)
    best = torch.load(tmp_path / "whole" / "checkpoints" / "best.pt", weights_only=True)
    assert best["val_error"] == min(line["val/unbiased_mse"] for line in said)
    first = tmp_path / "whole" / "checkpoints" / "000000000008.pt"
    before = (tmp_path / "whole" / "checkpoints" / "000000000016.pt").read_bytes()
    (tmp_path / "whole" / "checkpoints" / "000000000016.pt").unlink()
    assert first.exists()
    again = run_verb("launch.train", "--run", tmp_path / "whole", *data, *TRAINING)
    assert again.returncode == 0, again.stderr
    resumed = torch.load(tmp_path / "whole" / "checkpoints" / "000000000016.pt", weights_only=True)
    (tmp_path / "before.pt").write_bytes(before)
    uninterrupted = torch.load(tmp_path / "before.pt", weights_only=True)
    assert all(torch.equal(resumed["ema"][name], uninterrupted["ema"][name]) for name in resumed["ema"])

    files = ("--json", tmp_path / "scores.json", "--csv", tmp_path / "scores.csv")
    shown = run_verb("launch.evaluate", tmp_path / "whole", "--data", referenced, *files)
    assert shown.returncode == 0, shown.stderr
    assert "unbiased_psnr_db" in shown.stdout
    document = json.loads((tmp_path / "scores.json").read_text())
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], float(row["unbiased_mse"])) for row in rows] == [
        (scene["name"], scene["unbiased_mse"]) for scene in document["scenes"]
    ]
    assert {row["denoiser"] for row in rows} == {"whole"}
    mean = document["mean"]
    assert mean["unbiased_mse"] == pytest.approx(said[-1]["val/unbiased_mse"], rel=1e-3)


def test_grey_shots_train_a_grey_network(run_verb: Any, tmp_path: Path) -> None:
    grey = [[shot[:1] for shot in noisy_shots(seed, 2)[0]] for seed in range(4)]
    folder = make_scenes(tmp_path, grey, mode="keep")
    run = run_verb("launch.train", "--run", tmp_path / "run", f"--data.train={folder}", *TRAINING)
    assert run.returncode == 0, run.stderr
    assert "988609 parameters" in run.stderr + run.stdout
    denoiser = Denoiser.load(tmp_path / "run")
    plane = torch.rand(1, 40, 50)
    one, three = denoiser(plane), denoiser(plane.expand(3, -1, -1))
    assert one.shape == (1, 40, 50)
    assert torch.allclose(three, one.expand(3, -1, -1), atol=1e-5)
    refused = run_verb("launch.evaluate", tmp_path / "run", "--images", folder)
    assert refused.returncode == 2
    assert "no noise to test with" in refused.stderr
