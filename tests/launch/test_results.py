"""The table of results: of real runs, and of everything that `make results` does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launch.config import parse_config
from launch.plot import seconds_of_training
from launch.results import decibels, main, read_results, table
from pipeline.errors import BadInput

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "configs" / "results").glob("*.yaml"))


def make(out: Path, photos: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    given = {"RESULTS": out, "PHOTOS": photos, "TESTS": photos, "PROCESSES": "1", "VENV": sys.prefix, **variables}
    settings = [f"{name}={value}" for name, value in given.items()]
    ready = f"--old-file={sys.prefix}/ready"  # what is installed stays as it is
    return subprocess.run(["make", ready, "results", *settings], cwd=ROOT, capture_output=True, text=True)


def test_make_results_from_raw_pictures_and_again_after_it_was_stopped(tmp_path: Path, pictures: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "results"
    tiny = {"RECIPES": "leaves", "LEAVES": "4", "ARGS": "train.images=8 pairs.crop=16 wandb.mode=off"}
    stopped = make(out, pictures, **{**tiny, "TESTS": f"{pictures} {tmp_path}/nowhere"})
    assert stopped.returncode != 0
    assert "nowhere" in stopped.stderr
    assert not (out / "scores" / "leaves").exists(), "scores of some of the tests only"
    done = make(out, pictures, **tiny)
    assert done.returncode == 0, done.stderr
    assert "resuming" in done.stderr, "the training that was finished is not done again"
    assert (out / "curves.png").stat().st_size > 1000
    line = (out / "results.md").read_text().splitlines()[-1]
    score = json.loads((out / "scores" / "leaves" / f"{pictures.name}.json").read_text())
    assert line.startswith("| `leaves` | gaussian sigma_255=25 | noisy | 8 of 16 px |")
    assert f"-> **{score['mean']['psnr_srgb8_db']:.2f}**" in line


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_a_training(recipe: Path) -> None:
    config = parse_config([str(recipe), "data.train=shards", "run=runs/one"])
    assert config.train.images <= 360_000, "two hours of 4 cores"
    twin = recipe.with_name(f"{recipe.stem}-clean.yaml")
    if twin.exists():  # differs in its targets alone
        noisy, clean = (yaml.safe_load(path.read_text()) for path in (recipe, twin))
        assert clean.pop("pairs") == {"target": "clean"}
        assert noisy == clean


def test_seconds_are_counted_over_intervals_and_between_them() -> None:
    lines = [{"images": 10, "time/images_per_s": 5.0}, {"images": 20, "val": 1}, {"images": 30, "time/images_per_s": 2}]
    assert seconds_of_training(lines, [0, 5, 10, 20, 30]) == [0, 1, 2, 7, 12]


def test_what_is_missing_is_a_dash_and_what_is_damaged_is_told(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no results there"):
        main([str(tmp_path)])
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").symlink_to(trained)
    (tmp_path / "scores" / "a").mkdir(parents=True)
    score = tmp_path / "scores" / "a" / "set.json"
    score.write_text(json.dumps({"noise": "n", "mean": {"psnr_noisy_tonemapped_db": 20, "psnr_tonemapped_db": 30}}))
    (only,) = read_results(tmp_path)
    assert only.core_minutes is not None
    assert only.core_minutes > 0
    assert decibels(only.scores["set"]) == "20.00 -> **30.00**"
    assert decibels(None) == "-"
    assert "| set, dB |" in table([only])
    score.write_text("{")
    with pytest.raises(BadInput, match="damaged result"):
        read_results(tmp_path)
