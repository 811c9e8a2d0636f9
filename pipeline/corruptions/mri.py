"""Magnetic resonance images from a tenth of their frequencies."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pipeline.corruptions.draws import Generators, Strength, uniform
from pipeline.philox import Philox


def mri(clean: Tensor, edge_p: Strength, generators: Generators) -> tuple[Tensor, Tensor]:
    """Measure each spatial frequency k of (..., C, H, W) with probability p(k). Returns (noisy, measured).

    p(k) = edge_p ** |k|, where |k| is 0 for the mean and 1 for the finest frequency along an axis; `edge_p` in
    (0, 1]. At 0.025 that is a tenth of all. Measured frequencies are divided by p(k), others are 0: so the mean of
    every frequency, hence of every pixel, is `clean`, and a frequency's variance (1 / p(k) - 1) |X(k)|**2. The mean
    of the picture is always measured. k and -k are measured together, in all channels, and so noisy is real.

    `measured` is (..., 1, H, W // 2 + 1), over the frequencies of a real Fourier transform: p(k) where k was measured
    and 0 where not. So the spectrum of noisy times it is what was measured, for `model.fourier.consistent`.
    Source: Lehtinen et al. 2018, section 3.4; 0.025 is the published code's.
    """
    assert not isinstance(generators, Philox), "Law.device: frequencies are drawn in workers"
    if not isinstance(generators, Generator):
        shares = torch.as_tensor(edge_p).expand(len(generators), 1, 1, 1).flatten()
        views = [mri(*one) for one in zip(clean, shares, generators, strict=True)]
        return torch.stack([noisy for noisy, _ in views]), torch.stack([measured for _, measured in views])
    height, width = clean.shape[-2:]
    p = density(height, width, float(edge_p))
    # Each picture by itself, and by numpy: the rounding of a transform depends on the batch and the threads otherwise.
    number = uniform((*clean.shape[:-3], 1, height, width), generators).numpy()
    kept = mirrored(number)[..., : width // 2 + 1] < p
    spectrum = np.fft.rfft2(clean.numpy())
    noisy = np.fft.irfft2(np.where(kept, spectrum / p, 0), s=(height, width))
    return torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy(np.where(kept, p, 0).astype(np.float32))


def density(height: int, width: int, edge_p: float) -> NDArray[np.float32]:
    """p(k), (H, W // 2 + 1) in float32, as numpy.fft.rfft2 orders frequencies."""
    rows = np.fft.fftfreq(height) * height / max(1, height // 2)
    columns = np.arange(width // 2 + 1) / max(1, width // 2)
    return np.power(edge_p, np.hypot(rows[:, None], columns)).astype(np.float32)


def mirrored(number: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of (..., H, W) numbers, one a frequency, the same one for k and -k: that of whichever comes first."""
    first = first_of_two(*number.shape[-2:])
    return number.reshape(*number.shape[:-2], -1)[..., first].reshape(number.shape)


@lru_cache(maxsize=16)
def first_of_two(height: int, width: int) -> NDArray[np.int64]:
    """For every frequency the place of itself or of its opposite, whichever comes first."""
    place = np.arange(height * width).reshape(height, width)
    opposite = np.roll(place[::-1, ::-1], (1, 1), (0, 1))
    return np.minimum(place, opposite).ravel()
