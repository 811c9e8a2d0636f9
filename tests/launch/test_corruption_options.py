"""The configuration: corruptions and losses as they are written in files, and runs from before an option was there."""

from pathlib import Path

import pytest

from launch.config import flatten, parse_config, refuse_change, to_dict
from pipeline.errors import BadInput

RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
RECIPES = [recipe for recipe in RECIPES if recipe.stem != "sweep"]  # which is W&B's
NEEDED = ["--run", "r", "--data.train", "d"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_recipe_is_read(recipe: Path) -> None:
    config = parse_config(["--config", str(recipe), *NEEDED])
    others = {"demo": "gaussian", "pairs": "none", "render": "gaussian"}  # renders and real pairs bring their own noise
    assert config.corruption.name == others.get(recipe.stem, recipe.stem)


def test_a_range_is_written_as_a_list_and_a_budget_as_a_word_or_number() -> None:
    options = ["--corruption.name=poisson", "--corruption.photons=[0.5,50]", "--pairs.capture=3"]
    config = parse_config([*NEEDED, *options])
    assert config.corruption.photons == (0.5, 50.0)
    assert config.corruption.sigma_255 is None
    assert parse_config(NEEDED).corruption.sigma_255 == (0.0, 50.0)  # the default, written out
    assert config.pairs.capture == 3
    assert parse_config([*NEEDED, "--pairs.capture=fixed"]).pairs.capture == "fixed"


def test_an_option_of_another_corruption_is_refused() -> None:
    with pytest.raises(BadInput, match="poisson has no such option"):
        parse_config([*NEEDED, "--corruption.name=poisson", "--corruption.sigma_255=25"])


def test_a_run_from_before_an_option_was_there_resumes_and_one_that_differs_does_not() -> None:
    config = parse_config(NEEDED)
    saved = to_dict(config)
    del saved["loss"]
    del saved["pairs"]["capture"]
    saved["corruption"] = {"name": "gaussian", "sigma_255": (0.0, 50.0)}
    assert refuse_change(saved, config, Path("r")) == []
    with pytest.raises(BadInput, match=r"loss\.name: auto -> l1"):
        refuse_change(saved, parse_config([*NEEDED, "--loss.name=l1"]), Path("r"))
    assert "loss.name" in flatten(to_dict(config))
