"""PSNR and SSIM against hand-made values and an independent SSIM."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from model.metrics import MS_SSIM_SIDE, ms_ssim, psnr_db, ssim, to_8_bit


def test_psnr_of_a_known_error() -> None:
    clean = torch.zeros(3, 4, 4)
    assert psnr_db(clean + 5, clean) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr_db(clean, clean) == math.inf


def test_sigma_25_is_20_17_db(generator: torch.Generator) -> None:
    clean = torch.full((3, 500, 500), 128.0)
    noisy = clean + 25 * torch.randn(clean.shape, generator=generator)
    assert psnr_db(noisy, clean) == pytest.approx(20.17, abs=0.02)


def test_rounding_is_half_up_and_clipped() -> None:
    levels = torch.arange(256) / 255
    assert torch.equal(to_8_bit(levels), torch.arange(256.0))
    assert to_8_bit(torch.tensor([-0.1, 0.499 / 255, 0.5 / 255, 1.1])).tolist() == [0, 0, 1, 255]


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004 in numpy and scipy, one channel after another."""
    ramp = np.arange(11) - 5
    line = np.exp(-(ramp**2) / (2 * 1.5**2))
    line /= line.sum()

    def blur(z: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(z, line, 0), line, 1)[5:-5, 5:-5]

    values = []
    for a, b in zip(x.astype(float), y.astype(float), strict=True):
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(np.mean(values))


def test_ssim_agrees_with_an_independent_one() -> None:
    rng = np.random.default_rng(0)
    clean = correlate1d(rng.integers(0, 256, (3, 40, 52)).astype(float), np.ones(5) / 5, 1).round()
    noisy = (clean + rng.normal(0, 20, clean.shape)).round()
    expected = reference_ssim(noisy, clean)
    got = ssim(torch.from_numpy(noisy).float(), torch.from_numpy(clean).float())
    assert got == pytest.approx(expected, abs=1e-9)
    assert 0.1 < got < 0.95


def test_ssim_of_equal_pictures_is_one() -> None:
    picture = torch.randint(0, 256, (3, 20, 20)).float()
    assert ssim(picture, picture) == pytest.approx(1)


@pytest.mark.parametrize("size", [(1, 1), (5, 30)])
def test_ssim_of_small_pictures(size: tuple[int, int]) -> None:
    picture = torch.randint(0, 256, (3, *size)).float()
    assert ssim(picture, picture) == pytest.approx(1)


def smooth_and_noisy(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    clean = correlate1d(rng.integers(0, 256, (3, height, width)).astype(float), np.ones(9) / 9, 1).round()
    noisy = (clean + rng.normal(0, 20, clean.shape)).round().clip(0, 255)
    return torch.from_numpy(noisy), torch.from_numpy(clean)


@pytest.mark.parametrize("size", [(176, 176), (192, 240)])
def test_ms_ssim_agrees_with_a_library(size: tuple[int, int]) -> None:
    """Of even sizes: at odd ones the library averages the last line with zeros from outside the picture."""
    library = pytest.importorskip("pytorch_msssim")
    noisy, clean = smooth_and_noisy(*size)
    expected = float(library.ms_ssim(noisy[None], clean[None], data_range=255))
    got = ms_ssim(noisy, clean)
    assert got == pytest.approx(expected, abs=1e-6)  # the library's window is float32
    assert got != pytest.approx(ssim(noisy, clean), abs=1e-2), "the twin: one scale is another number"


def test_ms_ssim_of_odd_and_of_small_pictures() -> None:
    noisy, clean = smooth_and_noisy(201, 187)
    even = ms_ssim(noisy[:, :200, :186], clean[:, :200, :186])
    assert ms_ssim(clean, clean) == pytest.approx(1)
    assert even is not None
    assert ms_ssim(noisy, clean) == pytest.approx(even, abs=5e-3)
    assert ms_ssim(noisy[:, : MS_SSIM_SIDE - 1], clean[:, : MS_SSIM_SIDE - 1]) is None
