"""Additive Gaussian noise, white and brown."""

import math

import torch
from torch import Tensor

from pipeline.corruptions.draws import Generators, Strength, normal, normal_around

REACH = 4  # standard deviations at which the blur is cut off; 6e-5 of its weight lies beyond


def gaussian(clean: Tensor, sigma: Strength, generators: Generators) -> Tensor:
    """Add white Gaussian noise: mean, median and mode `clean`, variance sigma**2.

    `sigma` is in the unit of `clean`. Not clipped: clipping a noisy target biases it, by 10/255 at black for
    sigma 25/255, and the mean of the target is what the network learns. Source: Lehtinen et al. 2018, section 3.1.
    """
    return normal_around(clean, sigma, generators)


def brown(clean: Tensor, sigma: Strength, bandwidth_px: float, generators: Generators) -> Tensor:
    """Add Gaussian noise that is blurred in space: mean, median and mode `clean`, variance sigma**2 at every pixel.

    White noise under a Gaussian blur of standard deviation `bandwidth_px`, rescaled; channels are independent.
    Two pixels at distance d have correlation exp(-d**2 / (4 bandwidth_px**2)), cut off at REACH. The noise is made
    on a canvas larger than the picture, so that borders are as noisy as the middle. Bandwidth 0 is white.
    Source: Lehtinen et al. 2018, section 3.1 and figure 1b.
    """
    kernel = blur_kernel(bandwidth_px)
    margin = len(kernel) - 1
    height, width = clean.shape[-2:]
    canvas = normal((*clean.shape[:-2], height + margin, width + margin), generators)
    # Sums of shifted views, not a convolution: its rounding would depend on the batch it is in.
    rows = torch.zeros(*canvas.shape[:-2], height, width + margin, device=clean.device)
    for k, weight in enumerate(kernel):
        rows.add_(canvas[..., k : k + height, :], alpha=weight)
    noise = torch.zeros(clean.shape, device=clean.device)
    for k, weight in enumerate(kernel):
        noise.add_(rows[..., k : k + width], alpha=weight)
    return clean + sigma * noise


def blur_kernel(bandwidth_px: float) -> list[float]:
    """A Gaussian whose squares sum to 1, so that unit white noise keeps its variance under it."""
    reach = math.ceil(REACH * bandwidth_px)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    line = torch.exp(-offsets.square() / (2 * bandwidth_px**2)) if reach else torch.ones(1, dtype=torch.float64)
    weights: list[float] = (line / line.square().sum().sqrt()).tolist()
    return weights
