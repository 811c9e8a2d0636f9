"""Photon noise against its moments, with twins that must fail."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator

from pipeline.corruptions.poisson import poisson

LEVELS = [0.0, 1 / 255, 0.5, 254 / 255, 1.0]


def noisy(level: float, photons: float, generator: Generator) -> torch.Tensor:
    return poisson(torch.full((1, 300, 1000), level), photons, generator)


@pytest.mark.parametrize("photons", [0.5, 30.0])
@pytest.mark.parametrize("level", LEVELS)
def test_poisson_has_its_mean_and_variance(
    level: float, photons: float, generator: Generator, agree: Callable[..., bool]
) -> None:
    assert agree(noisy(level, photons, generator), level, level / photons)


@pytest.mark.parametrize("level", LEVELS[2:])
def test_the_moment_test_sees_two_per_cent_of_photons(
    level: float, generator: Generator, agree: Callable[..., bool]
) -> None:
    """The twin that must fail."""
    assert not agree(noisy(level, 30 * 1.02, generator), level, level / 30)


@pytest.mark.parametrize("level", LEVELS[3:])
def test_the_moment_test_sees_clipping(level: float, generator: Generator, agree: Callable[..., bool]) -> None:
    """The twin that must fail: photon noise passes white."""
    assert not agree(noisy(level, 30, generator).clamp(0, 1), level, level / 30)


def test_a_rare_photon_is_worth_many_whites(generator: Generator) -> None:
    view = noisy(1.0, 0.001, generator)
    assert view.unique()[:2].tolist() == pytest.approx([0, 1000])
    assert view.dtype == torch.float32
