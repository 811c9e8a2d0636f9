"""Corruptions: pure functions of clean pixels, strength and generator. Float32, never clipped, never quantised."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """Which noise the source and the target of a pair get, each its own."""

    name: Literal["gaussian"] = "gaussian"
    """gaussian: additive and white, its mean is the clean picture."""
    sigma_255: float | tuple[float, float] = (0.0, 50.0)
    """Standard deviation in 8-bit units: one value, or the range from which each view draws uniformly."""

    def __post_init__(self) -> None:
        low, high = self.sigma_range_255
        if not 0 <= low <= high:
            raise ValueError(f"corruption.sigma_255 is {self.sigma_255}; wanted a value or a range [low, high] >= 0")

    @property
    def sigma_range_255(self) -> tuple[float, float]:
        if isinstance(self.sigma_255, tuple):
            return self.sigma_255
        return (self.sigma_255, self.sigma_255)


PUBLISHED_TEST = {"gaussian": CorruptionConfig(sigma_255=25.0)}  # strengths of Lehtinen et al. 2018, Table 1


def corrupt(clean: Tensor, config: CorruptionConfig, generator: Generator) -> Tensor:
    """One noisy view of `clean` (..., C, H, W) in [0, 1]: draws its strength, then its noise, from `generator`."""
    low, high = config.sigma_range_255
    uniform = float(torch.rand((), generator=generator, dtype=torch.float64))
    return gaussian(clean, (low + (high - low) * uniform) / 255, generator)


def gaussian(clean: Tensor, sigma: float, generator: Generator) -> Tensor:
    """Add white Gaussian noise: mean `clean`, variance sigma**2, so fit for a mean-seeking loss.

    `sigma` is in the unit of `clean`. Not clipped: clipping a noisy target biases it, by 10/255 at black for
    sigma 25/255, and the mean of the target is what the network learns. Source: Lehtinen et al. 2018, section 3.1.
    """
    return clean + sigma * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
