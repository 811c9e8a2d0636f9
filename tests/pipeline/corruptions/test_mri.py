"""Sampled frequencies: moments of the spectrum, realness, the share measured, and twins that must fail."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pipeline.corruptions.mri import density, mirrored, mri

EDGE = 0.2
VIEWS = 20_000
FREQUENCIES = [(0, 1), (1, 0), (2, 3), (-3, 1), (4, 4), (-2, 4), (4, 0), (0, 4)]  # of 8 x 8; the last are their own


def picture() -> Tensor:
    return torch.rand(1, 8, 8, generator=Generator().manual_seed(7))


def spectra(edge_p: float) -> NDArray[np.complex128]:
    """Of many views of one picture."""
    views, _ = mri(picture().expand(VIEWS, 1, 8, 8), edge_p, Generator().manual_seed(1))
    return np.fft.fft2(views[:, 0].double().numpy())


def moments_agree(got: NDArray[np.complex128], k: tuple[int, int], edge_p: float) -> bool:
    """Mean X(k) and variance (1 / p - 1) |X(k)|^2, within five standard errors of n weighted coin flips."""
    clean = np.fft.fft2(picture()[0].double().numpy())[k]
    p, n = edge_p ** (math.hypot(*k) / 4), len(got)
    variance = (1 / p - 1) * abs(clean) ** 2
    off = np.abs(got[:, *k] - clean) ** 2
    mean_error = abs(got[:, *k].mean() - clean) / math.sqrt(variance / n)
    variance_error = abs(off.mean() - variance) / (off.std() / math.sqrt(n))
    return bool(mean_error < 5 and variance_error < 5)


@pytest.mark.parametrize("k", FREQUENCIES)
def test_every_frequency_has_its_mean_and_variance(k: tuple[int, int]) -> None:
    got = spectra(EDGE)
    assert moments_agree(got, k, EDGE)
    assert moments_agree(got, (-k[0], -k[1]), EDGE)


@pytest.mark.parametrize("k", FREQUENCIES)
def test_the_moment_test_sees_another_density(k: tuple[int, int]) -> None:
    """The twin that must fail."""
    assert not moments_agree(spectra(0.8 * EDGE), k, EDGE)


@pytest.mark.parametrize("k", FREQUENCIES)
def test_the_moment_test_sees_missing_weights(k: tuple[int, int]) -> None:
    """The twin that must fail: frequencies kept as they are, not over p, have the mean p X."""
    p = EDGE ** (math.hypot(*k) / 4)
    assert not moments_agree(spectra(EDGE) * p, k, EDGE)


def imaginary_part(numbers: NDArray[np.float32]) -> float:
    rows = np.hypot(*np.meshgrid(np.fft.fftfreq(9) * 9 / 4, np.fft.fftfreq(7) * 7 / 3))
    kept = numbers < np.power(EDGE, rows)
    spectrum = np.fft.fft2(np.random.default_rng(0).random((7, 9)))
    return float(np.abs(np.fft.ifft2(spectrum * kept).imag).max())


def test_conjugate_symmetry_makes_views_real() -> None:
    numbers = np.random.default_rng(1).random((7, 9), np.float32)
    assert imaginary_part(mirrored(numbers)) < 1e-12
    assert imaginary_part(numbers) > 1e-3  # the twin: each frequency by itself


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (255, 255), (256, 192), (1, 5), (1, 1)])
def test_a_view_is_the_weighted_spectrum_and_says_so(size: tuple[int, int], generator: Generator) -> None:
    clean = torch.rand(3, *size)
    noisy, measured = mri(clean, 0.025, generator)
    spectrum, expected = torch.fft.rfft2(noisy), torch.fft.rfft2(clean)
    scale = float(expected.abs().max())
    assert measured.shape == (1, size[0], size[1] // 2 + 1)
    assert float((spectrum * measured - expected * (measured > 0)).abs().max()) < 1e-6 * scale
    assert float(measured[0, 0, 0]) == 1, "the mean is always measured"
    assert noisy.dtype == measured.dtype == torch.float32
    kept, p = measured[measured > 0], torch.from_numpy(density(*size, 0.025))[None]
    assert torch.equal(kept, p[measured > 0])


def test_a_tenth_is_measured_as_published(generator: Generator) -> None:
    """The published profile at 255 x 255: 0.10477 on average, 0.025 at the edge, 0.00542 in the corner."""
    half = density(255, 255, 0.025)
    both_halves = (2 * half.sum() - half[:, 0].sum()) / 255**2
    assert both_halves == pytest.approx(0.10477, abs=1e-5)
    assert half[0, -1] == pytest.approx(0.025)
    assert half[127, -1] == pytest.approx(0.00542, abs=1e-5)
    shares = torch.stack([(mri(torch.zeros(1, 255, 255), 0.025, generator)[1] > 0).float() for _ in range(20)])
    error = 5 * math.sqrt(0.1 * 0.9 / shares.numel())
    assert abs(float(shares.mean()) - float(half.mean())) < error
    assert abs(float(shares.mean()) - 1.02 * float(half.mean())) > error  # another share would be seen


@pytest.mark.parametrize("level", [0.0, 1 / 255, 0.5, 254 / 255, 1.0])
def test_the_mean_over_views_is_clean_at_every_level(level: float, generator: Generator) -> None:
    """And a flat picture, which is its mean alone, comes back as it was."""
    flat = torch.full((1, 16, 16), level)
    assert float((mri(flat, 0.025, generator)[0] - flat).abs().max()) < 1e-6
    clean = (0.9 * flat + 0.1 * torch.rand(1, 16, 16)).expand(4000, 1, 16, 16)
    views = mri(clean, EDGE, generator)[0].double()
    error = 5 * views.std(0) / math.sqrt(len(views))
    assert bool(((views.mean(0) - clean[0]).abs() < error + 1e-6).all())
    assert not bool(((views.clamp(0, 1).mean(0) - clean[0]).abs() < error).all()) or level == 0.5  # clipped: a twin


def test_all_channels_are_measured_alike(generator: Generator) -> None:
    grey = torch.rand(1, 12, 10).expand(3, 12, 10)
    noisy, _ = mri(grey, 0.1, generator)
    assert torch.equal(noisy[0], noisy[1])
    assert torch.equal(noisy[0], noisy[2])
