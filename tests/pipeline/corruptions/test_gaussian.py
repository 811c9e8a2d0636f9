"""Brown noise: its variance at every pixel, its correlation, and twins that must fail."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from pipeline.corruptions.gaussian import blur_kernel, brown, gaussian

SIGMA = 25 / 255


def corner_and_middle(
    bandwidth_px: float, generator: Generator, sigma: float = SIGMA, level: float = 0.5
) -> list[Tensor]:
    """One pixel of each of many pictures, so that the values are independent."""
    clean = torch.full((60_000, 1, 5, 5), level)
    noisy = brown(clean, sigma, bandwidth_px, generator)
    return [noisy[:, 0, 0, 0], noisy[:, 0, 2, 2]]


@pytest.mark.parametrize("bandwidth_px", [0.0, 0.5, 2.0])
def test_brown_has_its_mean_and_variance_everywhere(
    bandwidth_px: float, generator: Generator, agree: Callable[..., bool]
) -> None:
    for pixel in corner_and_middle(bandwidth_px, generator):
        assert agree(pixel, 0.5, SIGMA**2)


@pytest.mark.parametrize("level", [0.0, 1 / 255, 254 / 255, 1.0])
def test_brown_has_them_at_every_level(level: float, generator: Generator, agree: Callable[..., bool]) -> None:
    for pixel in corner_and_middle(2.0, generator, level=level):
        assert agree(pixel, level, SIGMA**2)
        if level in (0.0, 1.0):
            assert not agree(pixel.clamp(0, 1), level, SIGMA**2)  # the twin that must fail


def test_the_moment_test_sees_three_per_cent_of_sigma(generator: Generator, agree: Callable[..., bool]) -> None:
    """The twin that must fail."""
    for pixel in corner_and_middle(2.0, generator, SIGMA * 1.03):
        assert not agree(pixel, 0.5, SIGMA**2)


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_brown_correlates_as_its_bandwidth_says(distance: int, generator: Generator) -> None:
    n = 40_000
    noise = brown(torch.zeros(n, 1, 1, 5), 1.0, 1.5, generator)[:, 0, 0]
    r = float(torch.corrcoef(noise[:, [0, distance]].T)[0, 1])
    expected = math.exp(-(distance**2) / (4 * 1.5**2))
    assert abs(r - expected) < 5 / math.sqrt(n)
    assert abs(r - math.exp(-(distance**2) / (4 * 1.8**2))) > 5 / math.sqrt(n)  # another bandwidth would be seen


def test_brown_of_no_bandwidth_is_white() -> None:
    clean = torch.rand(3, 8, 8)
    white, brown_0 = gaussian(clean, 0.1, Generator().manual_seed(3)), brown(clean, 0.1, 0, Generator().manual_seed(3))
    assert torch.equal(white, brown_0)


def test_the_blur_keeps_the_variance() -> None:
    for bandwidth_px in (0.3, 1.0, 7.5):
        assert sum(weight**2 for weight in blur_kernel(bandwidth_px)) == pytest.approx(1)
