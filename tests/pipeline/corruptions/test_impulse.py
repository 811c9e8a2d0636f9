"""Pixels of random colour: moments, the mode, whole pixels, and twins that must fail."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from pipeline.corruptions.impulse import impulse

LEVELS = [0.0, 1 / 255, 0.5, 254 / 255, 1.0]


def moments(level: float, p: float) -> tuple[float, float]:
    return (1 - p) * level + p / 2, p / 12 + p * (1 - p) * (level - 0.5) ** 2


def noisy(level: float, p: float, generator: Generator) -> Tensor:
    return impulse(torch.full((1, 300, 1000), level), p, generator)


@pytest.mark.parametrize("p", [0.3, 0.95])
@pytest.mark.parametrize("level", LEVELS)
def test_impulse_has_its_mean_and_variance(
    level: float, p: float, generator: Generator, agree: Callable[..., bool]
) -> None:
    assert agree(noisy(level, p, generator), *moments(level, p))


@pytest.mark.parametrize("level", LEVELS)
def test_the_moment_test_sees_two_hundredths_of_p(
    level: float, generator: Generator, agree: Callable[..., bool]
) -> None:
    """The twin that must fail."""
    assert not agree(noisy(level, 0.72, generator), *moments(level, 0.7))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_the_mode_is_clean(level: float, generator: Generator) -> None:
    """Even where 19 of 20 pixels are lost: in bins of 1/1000 the clean one holds 50 times as many as any other."""
    view = noisy(level, 0.95, generator)
    bins = torch.histc(view, 1001, -0.0005, 1.0005)
    assert int(bins.argmax()) == round(level * 1000)
    assert bins.max() > 30 * bins.sort().values[-2]


def test_pixels_are_hit_in_all_channels(generator: Generator) -> None:
    """One channel alone would be another corruption, which a known implementation has."""
    changed = impulse(torch.full((3, 100, 100), 2.0), 0.5, generator) != 2.0
    assert torch.equal(changed.any(0), changed.all(0))
