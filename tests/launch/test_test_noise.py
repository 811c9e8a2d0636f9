"""Evaluation under each corruption: published strengths unless told otherwise, and the noise that it promises."""

import argparse

import pytest
import torch

from launch.asked_noise import STRENGTHS, asked_corruptions, noise_label
from model.metrics import psnr_db
from pipeline.corruption import PUBLISHED_TEST, CorruptionConfig, corrupt
from pipeline.errors import BadInput


def asked(*names: str, **options: float) -> list[CorruptionConfig]:
    return asked_corruptions(argparse.Namespace(**{**dict.fromkeys(STRENGTHS), **options}), names)


@pytest.mark.parametrize("name", PUBLISHED_TEST)
def test_the_published_strength_is_the_default(name: str) -> None:
    assert asked(name) == [PUBLISHED_TEST[name]]


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
    noisy = corrupt(clean, PUBLISHED_TEST[name], torch.Generator().manual_seed(0))
    assert psnr_db(noisy * 255, clean * 255) == pytest.approx(expected_db, abs=0.05)
