"""Pixels of random colour."""

import torch
from torch import Tensor

from pipeline.corruptions.draws import Generators, Strength, uniform


def impulse(clean: Tensor, p: Strength, generators: Generators) -> Tensor:
    """Replace each whole pixel, with probability `p` in [0, 1), by a colour uniform in [0, 1]^3.

    Mode `clean`: the only value that has a probability. Mean (1 - p) clean + p / 2, hence biased towards grey, of
    variance p / 12 + p (1 - p) (clean - 1/2)**2 a channel; the median is `clean` for p < 1/2 alone.
    Source: Lehtinen et al. 2018, section 3.2.
    """
    hit = uniform((*clean.shape[:-3], 1, *clean.shape[-2:]), generators) < p
    return torch.where(hit, uniform(clean.shape, generators), clean)
