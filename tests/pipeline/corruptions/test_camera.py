"""Sensor noise in linear light against its moments, with twins that must fail."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from pipeline.corruptions.camera import SENSORS, camera, to_linear, to_srgb

ELECTRONS, READ = 100.0, 3.0
LEVELS = [0.0, 1 / 255, 0.5, 254 / 255, 1.0]


def noisy(level: float, generator: Generator, electrons: float = ELECTRONS) -> Tensor:
    return camera(torch.full((1, 300, 1000), level), electrons, READ, generator)


def moments(level: float) -> tuple[float, float]:
    linear = level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4
    return linear, linear / ELECTRONS + (READ / ELECTRONS) ** 2


@pytest.mark.parametrize("level", LEVELS)
def test_camera_has_its_mean_and_variance(level: float, generator: Generator, agree: Callable[..., bool]) -> None:
    assert agree(noisy(level, generator), *moments(level))


@pytest.mark.parametrize("level", LEVELS)
def test_the_moment_test_sees_two_per_cent_of_gain(
    level: float, generator: Generator, agree: Callable[..., bool]
) -> None:
    """The twin that must fail."""
    assert not agree(noisy(level, generator, ELECTRONS * 1.02), *moments(level))


def test_the_moment_test_sees_a_clipped_black(generator: Generator, agree: Callable[..., bool]) -> None:
    """The twin that must fail."""
    assert not agree(noisy(0.0, generator).clamp(min=0), *moments(0.0))


def test_a_curve_over_the_noise_biases_it(generator: Generator) -> None:
    """Why targets stay linear: the mean of encoded noise is not the encoded clean picture, by eight levels here."""
    encoded = to_srgb(noisy(0.2, generator))
    assert abs(float(to_linear(encoded).mean()) - moments(0.2)[0]) < 2e-4
    assert abs(float(encoded.mean()) - 0.2) > 8 / 255


def test_the_curves_invert_each_other_beyond_the_unit_range() -> None:
    values = torch.linspace(-0.5, 2, 2001)
    torch.testing.assert_close(to_linear(to_srgb(values)), values, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(to_srgb(to_linear(values)), values, rtol=1e-5, atol=1e-6)
    assert to_linear(torch.tensor([0.5])).item() == pytest.approx(0.21404, abs=1e-5)


@pytest.mark.parametrize("sensor", SENSORS.values())
def test_presets_range_from_dark_to_bright(sensor: object) -> None:
    low, high = sensor.electrons  # type: ignore[attr-defined]
    assert 0 < low < high
