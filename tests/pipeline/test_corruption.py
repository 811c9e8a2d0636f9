"""Gaussian noise against its own moments, each with a twin that must fail."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.corruption import CorruptionConfig, corrupt, gaussian

SIGMA = 25 / 255
N = 1_000_000
LEVELS = [0.0, 1 / 255, 0.5, 254 / 255, 1.0]


def moments_agree(noise: Tensor, sigma: float) -> bool:
    """Mean 0 and variance sigma^2 within five standard errors of a normal sample of this size."""
    n = noise.numel()
    mean_error = abs(float(noise.double().mean())) / (sigma / math.sqrt(n))
    variance_error = abs(float(noise.double().var()) / sigma**2 - 1) / math.sqrt(2 / n)
    return mean_error < 5 and variance_error < 5


@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_has_its_mean_and_variance(level: float, generator: torch.Generator) -> None:
    clean = torch.full((1, 1000, 1000), level)
    assert moments_agree(gaussian(clean, SIGMA, generator) - clean, SIGMA)


@pytest.mark.parametrize("level", LEVELS)
def test_the_moment_test_sees_one_per_cent_of_sigma(level: float, generator: torch.Generator) -> None:
    """The twin that must fail."""
    clean = torch.full((1, 1000, 1000), level)
    assert not moments_agree(gaussian(clean, SIGMA * 1.01, generator) - clean, SIGMA)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_moment_test_sees_clipping(level: float, generator: torch.Generator) -> None:
    """The twin that must fail: black and white are where clipping biases a target."""
    clean = torch.full((1, 1000, 1000), level)
    assert not moments_agree(gaussian(clean, SIGMA, generator).clamp(0, 1) - clean, SIGMA)


def test_the_moment_test_sees_quantisation_by_truncation(generator: torch.Generator) -> None:
    """The twin that must fail: 8-bit truncation darkens by half a level."""
    clean = torch.full((1, 1000, 1000), 0.5)
    noisy = (gaussian(clean, SIGMA, generator) * 255).floor() / 255
    assert not moments_agree(noisy - clean, SIGMA)


def test_strength_is_uniform_over_its_range(generator: torch.Generator) -> None:
    """sigma ~ U(0, 50): noise of mean square 2500 / 3 in 8-bit units, the floor of the training loss."""
    clean = torch.zeros(1, 64, 64)
    squares = torch.stack([corrupt(clean, CorruptionConfig(), generator).square().mean() for _ in range(4000)])
    error = squares.std() / math.sqrt(len(squares))
    assert abs(float(squares.mean()) - 2500 / 3 / 255**2) < 5 * float(error)
    assert abs(float(squares.mean()) - 0.95 * 2500 / 3 / 255**2) > 2 * float(error)


def test_a_fixed_strength_is_fixed(generator: torch.Generator) -> None:
    config = CorruptionConfig(sigma_255=25)
    noise = corrupt(torch.zeros(1, 1000, 1000), config, generator)
    assert moments_agree(noise, SIGMA)


def test_noise_is_a_pure_function_of_its_generator() -> None:
    clean = torch.rand(3, 8, 8)
    kept = clean.clone()
    views = [gaussian(clean, 0.1, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*views)
    assert torch.equal(clean, kept)
    assert views[0].dtype == torch.float32


@pytest.mark.parametrize("sigma", [-1.0, (50.0, 25.0), (-1.0, 5.0)])
def test_an_impossible_strength_is_refused(sigma: float | tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="sigma_255"):
        CorruptionConfig(sigma_255=sigma)
