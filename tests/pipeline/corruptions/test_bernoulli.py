"""Missing pixels: moments, the mask, and twins that must fail."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator

from pipeline.corruptions.bernoulli import bernoulli

LEVELS = [0.0, 1 / 255, 0.5, 254 / 255, 1.0]


@pytest.mark.parametrize("p", [0.3, 0.95])
@pytest.mark.parametrize("level", LEVELS)
def test_bernoulli_has_its_mean_and_variance(
    level: float, p: float, generator: Generator, agree: Callable[..., bool]
) -> None:
    noisy, valid = bernoulli(torch.full((1, 300, 1000), level), p, generator)
    assert agree(noisy, (1 - p) * level, p * (1 - p) * level**2)
    assert agree(valid, 1 - p, p * (1 - p))


@pytest.mark.parametrize("p", [0.3, 0.95])
def test_the_moment_test_sees_two_hundredths_of_p(p: float, generator: Generator, agree: Callable[..., bool]) -> None:
    """The twin that must fail."""
    noisy, valid = bernoulli(torch.full((1, 300, 1000), 0.5), p - 0.02, generator)
    assert not agree(noisy, (1 - p) / 2, p * (1 - p) / 4)
    assert not agree(valid, 1 - p, p * (1 - p))


def test_valid_pixels_are_clean_and_missing_ones_zero_in_all_channels(generator: Generator) -> None:
    clean = torch.rand(4, 3, 32, 32) + 0.01
    noisy, valid = bernoulli(clean, 0.5, generator)
    assert valid.shape == (4, 1, 32, 32)
    assert torch.equal(noisy != 0, (valid == 1).expand_as(noisy))
    assert torch.equal(noisy[noisy != 0], clean[noisy != 0])
