"""Data consistency: what was measured comes back exactly, what was not is the network's, and so is the gradient."""

import pytest
import torch
from torch import Tensor

from model.fourier import consistent


def half_measured(height: int, width: int, weight: float = 0.25) -> Tensor:
    """(1, H, W // 2 + 1): low frequencies, divided by `weight` in the noisy picture."""
    rows = (torch.fft.fftfreq(height) * height).abs()[:, None]
    columns = torch.arange(width // 2 + 1)
    return ((rows + columns) < (height + width) / 6).float()[None] * weight


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (32, 21)])
def test_measured_frequencies_are_the_clean_ones_and_others_the_denoised(size: tuple[int, int]) -> None:
    clean, denoised, measured = torch.rand(2, 3, *size), torch.rand(2, 3, *size), half_measured(*size)
    spectrum = torch.fft.rfft2(clean)
    noisy = torch.fft.irfft2(torch.where(measured > 0, spectrum / measured, 0), s=size)
    result = torch.fft.rfft2(consistent(denoised, noisy, measured.expand(2, *measured.shape)))
    torch.testing.assert_close(
        result, torch.where(measured > 0, spectrum, torch.fft.rfft2(denoised)), rtol=1e-4, atol=1e-4
    )
    unweighted = torch.fft.rfft2(consistent(denoised, noisy, (measured > 0).float()))  # the twin
    assert float((unweighted - result).abs().max()) > 1


def test_nothing_and_everything_measured() -> None:
    denoised, clean = torch.rand(1, 3, 8, 6), torch.rand(1, 3, 8, 6)
    torch.testing.assert_close(consistent(denoised, clean, torch.zeros(1, 1, 8, 4)), denoised)
    torch.testing.assert_close(consistent(denoised, clean, torch.ones(1, 1, 8, 4)), clean)


def test_no_gradient_reaches_what_was_measured() -> None:
    denoised, measured = torch.rand(1, 1, 8, 8, requires_grad=True), half_measured(8, 8)
    (consistent(denoised, torch.rand(1, 1, 8, 8), measured) - torch.rand(1, 1, 8, 8)).square().sum().backward()
    assert denoised.grad is not None
    gradient = torch.fft.rfft2(denoised.grad).abs()
    assert float(gradient[:, measured > 0].max()) < 1e-5
    assert float(gradient[:, measured == 0].min()) > 1e-3


def test_half_precision_comes_out_as_float32() -> None:
    """Networks put out bfloat16 on some devices, for which there is no transform."""
    result = consistent(torch.rand(1, 1, 8, 8).bfloat16(), torch.rand(1, 1, 8, 8), half_measured(8, 8))
    assert result.dtype == torch.float32
