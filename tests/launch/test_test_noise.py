"""Evaluation under each corruption: published strengths unless told otherwise, and the noise that it promises."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from launch.config import parse_config
from launch.evaluate import main
from launch.evaluation.asked_noise import STRENGTHS, asked_corruptions, noise_label
from launch.evaluation.scores import measure
from model.metrics import psnr_db
from pipeline.corruption import PUBLISHED_TEST, CorruptionConfig, corrupt
from pipeline.errors import BadInput
from pipeline.gallery import Gallery

# Those of the corruptions alone: the demo is Gaussian, real pairs have no noise of ours.
RECIPES = [
    path for path in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")) if path.stem in PUBLISHED_TEST
]


def weaker(config: CorruptionConfig) -> CorruptionConfig:
    """The same at another strength."""
    option, law = next((name, law) for name, law in config.law.options.items() if law.test is not None)
    assert law.test is not None
    return replace(config, **{option: 0.9 * law.test})  # type: ignore[arg-type]


WEAKER = {name: weaker(config) for name, config in PUBLISHED_TEST.items()}


def asked(*names: str, **options: float) -> list[CorruptionConfig]:
    return asked_corruptions(argparse.Namespace(**{**dict.fromkeys(STRENGTHS), **options}), names)


@pytest.mark.parametrize("name", PUBLISHED_TEST)
def test_the_published_strength_is_the_default(name: str) -> None:
    assert asked(name) == [PUBLISHED_TEST[name]]


def test_every_name_is_evaluated_at_its_published_strength(trained: Path, pictures: Path, tmp_path: Path) -> None:
    """The command itself, for each name: the noisy input that it measures is the published corruption's, to the bit."""
    gallery = Gallery(pictures, 1)
    clean = gallery.clean(gallery.names[0])
    for name, corruption in PUBLISHED_TEST.items():
        options = ["--corruption", name, "--images", str(pictures), "--limit", "1", "--json", str(tmp_path / name)]
        main([str(trained), *options])
        scored = json.loads((tmp_path / name).read_text())["mean"]["psnr_noisy_srgb_db"]
        noisy = gallery.noisy(gallery.names[0], clean, corruption).pixels
        assert scored == psnr_db(noisy * 255, clean * 255)
        weaker = gallery.noisy(gallery.names[0], clean, WEAKER[name]).pixels
        assert scored != psnr_db(weaker * 255, clean * 255)  # another strength would be seen


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_recipes_have_the_names_of_corruptions_and_train_around_their_test_strength(recipe: Path) -> None:
    """So that `--corruption NAME` is the recipe's own, and what it is tested at is among what it has seen."""
    trained_on = parse_config(["--config", str(recipe), "--run=r", "--data.train=d"]).corruption
    assert trained_on.name == recipe.stem
    tested = PUBLISHED_TEST[recipe.stem].numbers
    for option, value in trained_on.numbers.items():
        low, high = value if isinstance(value, tuple) else (value, value)
        at = tested[option]
        assert isinstance(at, float)
        assert low <= at <= high


def test_the_measured_frequencies_are_put_back_in_evaluation(pictures: Path) -> None:
    """A denoiser that gives up on all others is then as good as knowing what was measured, and no worse."""
    gallery = Gallery(pictures, 1)
    name, corruption = gallery.names[0], PUBLISHED_TEST["mri"]
    scores, (noisy, denoised, clean) = measure(
        {"flat": lambda noisy: torch.full_like(noisy, 0.5)}, gallery, name, corruption
    )
    view = gallery.noisy(name, clean.pixels, corruption)
    assert view.measured is not None
    assert torch.equal(view.pixels, noisy.pixels)
    spectra = torch.fft.rfft2(denoised.pixels), torch.fft.rfft2(clean.pixels)
    known = (view.measured > 0).expand_as(spectra[0])
    assert float((spectra[0] - spectra[1])[known].abs().max()) < 1e-3
    assert float((spectra[0] - spectra[1])[~known].abs().max()) > 1
    flat = torch.full_like(clean.pixels, 0.5)
    assert scores["flat"].psnr_srgb8_db > psnr_db(flat * 255, clean.pixels * 255) + 3


def test_another_strength_may_be_asked_for() -> None:
    assert asked("gaussian", sigma_255=10.0)[0].sigma_255 == 10
    assert asked("poisson", photons=5.0)[0].photons == 5
    assert asked("gaussian:sigma_255=50")[0].sigma_255 == 50


def test_a_strength_is_for_every_corruption_that_has_it() -> None:
    gaussian, brown, poisson, strong = asked("gaussian", "brown", "poisson", "gaussian:sigma_255=50", sigma_255=10.0)
    assert (gaussian.sigma_255, brown.sigma_255, poisson.sigma_255, strong.sigma_255) == (10, 10, None, 50)
    assert noise_label(strong) == "gaussian sigma_255=50"


@pytest.mark.parametrize(("name", "options"), [("poisson", {"sigma_255": 25.0}), ("text", {"p": 0.9})])
def test_a_strength_that_it_has_not_is_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="cannot be had"):
        asked(name, **options)


@pytest.mark.parametrize("text", ["gausian", "gaussian:sigma=3", "gaussian:sigma_255=x", "gaussian:photons=3"])
def test_what_is_no_test_noise_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        asked(text)


@pytest.mark.parametrize(("name", "expected_db"), [("gaussian", 20.17), ("poisson", 17.78), ("bernoulli", 9.03)])
def test_the_input_has_the_decibels_of_its_law(name: str, expected_db: float) -> None:
    """Of mid-grey: 20 log(255/25); 10 log(30/0.5); 10 log(1/(0.5 * 0.25))."""
    clean = torch.full((3, 400, 400), 0.5)
    noisy = corrupt(clean, PUBLISHED_TEST[name], torch.Generator().manual_seed(0)).pixels
    assert psnr_db(noisy * 255, clean * 255) == pytest.approx(expected_db, abs=0.05)
