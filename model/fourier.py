"""Data consistency: what was measured of a picture's spectrum is put back into what a network makes of it."""

import torch
from torch import Tensor


def consistent(denoised: Tensor, noisy: Tensor, measured: Tensor) -> Tensor:
    """Denoised (..., C, H, W) with the frequencies that were measured replaced by what was measured. Float32.

    `measured` (..., 1, H, W // 2 + 1) is 0 at frequencies of the half spectrum that were not measured, and elsewhere
    what the spectrum of `noisy` must be multiplied by to be what was: there noisy was divided by it. No gradient
    reaches the measured frequencies. Source: Lehtinen et al. 2018, section 3.4, the R of its loss.
    """
    size = denoised.shape[-2:]
    guess, known = torch.fft.rfft2(denoised.float()), torch.fft.rfft2(noisy.float()) * measured
    return torch.fft.irfft2(torch.where(measured > 0, known, guess), s=size)
