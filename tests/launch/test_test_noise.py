"""Evaluation under each corruption: published strengths unless told otherwise, and the noise that it promises."""

import argparse

import pytest
import torch

from launch.evaluate import STRENGTHS, asked_corruption
from model.metrics import psnr_db
from pipeline.corruption import PUBLISHED_TEST, corrupt
from pipeline.errors import BadInput


def asked(corruption: str, **options: float) -> argparse.Namespace:
    return argparse.Namespace(**{**dict.fromkeys(STRENGTHS), **options}, corruption=corruption)


@pytest.mark.parametrize("name", PUBLISHED_TEST)
def test_the_published_strength_is_the_default(name: str) -> None:
    assert asked_corruption(asked(name)) == PUBLISHED_TEST[name]


def test_another_strength_may_be_asked_for() -> None:
    assert asked_corruption(asked("gaussian", sigma_255=10.0)).sigma_255 == 10
    assert asked_corruption(asked("poisson", photons=5.0)).photons == 5


@pytest.mark.parametrize(("name", "options"), [("poisson", {"sigma_255": 25.0}), ("text", {"p": 0.9})])
def test_a_strength_that_it_has_not_is_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="cannot be had"):
        asked_corruption(asked(name, **options))


@pytest.mark.parametrize(("name", "expected_db"), [("gaussian", 20.17), ("poisson", 17.78), ("bernoulli", 9.03)])
def test_the_input_has_the_decibels_of_its_law(name: str, expected_db: float) -> None:
    """Of mid-grey: 20 log(255/25); 10 log(30/0.5); 10 log(1/(0.5 * 0.25))."""
    clean = torch.full((3, 400, 400), 0.5)
    noisy = corrupt(clean, PUBLISHED_TEST[name], torch.Generator().manual_seed(0)).pixels
    assert psnr_db(noisy * 255, clean * 255) == pytest.approx(expected_db, abs=0.05)
