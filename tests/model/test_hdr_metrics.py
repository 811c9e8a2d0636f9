"""Metrics of linear pictures, against values by hand."""

import math

import pytest
import torch

from model.hdr_metrics import energy_bias_percent, psnr_tonemapped_db, relative_mse, smape, tone_mapped

REFERENCE = torch.tensor([0.0, 1.0, 3.0, 8.0]).repeat(3, 5, 1)


def test_values_by_hand() -> None:
    twice = 2 * REFERENCE
    errors = [0.0, 1 / 1.01, 9 / 9.01, 64 / 64.01]
    assert relative_mse(twice, REFERENCE) == pytest.approx(sum(errors) / 4)
    assert smape(twice, REFERENCE) == pytest.approx((0 + 1 / 3.01 + 3 / 9.01 + 8 / 24.01) / 4)
    assert energy_bias_percent(twice, REFERENCE) == pytest.approx(100)
    shown, right = ([(v / (1 + v)) ** (1 / 2.2) for v in values] for values in ((0, 2, 6, 16), (0, 1, 3, 8)))
    mse = sum((a - b) ** 2 for a, b in zip(shown, right, strict=True)) / 4
    assert psnr_tonemapped_db(twice, REFERENCE) == pytest.approx(-10 * math.log10(mse))


def test_equal_pictures() -> None:
    assert psnr_tonemapped_db(REFERENCE, REFERENCE) == math.inf
    assert relative_mse(REFERENCE, REFERENCE) == smape(REFERENCE, REFERENCE) == 0
    assert energy_bias_percent(REFERENCE, REFERENCE) == 0
    assert math.isnan(energy_bias_percent(REFERENCE, 0 * REFERENCE))


def test_negative_light_is_shown_black_and_counts_in_linear() -> None:
    assert not tone_mapped(torch.tensor([-1.0])).any()
    assert relative_mse(REFERENCE - 1, REFERENCE) > 0.5


def test_noise_without_bias_has_no_energy_bias(generator: torch.Generator) -> None:
    reference = torch.full((3, 256, 256), 0.5)
    noisy = reference * -torch.rand(reference.shape, generator=generator).log()  # exponential of mean 1
    standard_error = 100 / math.sqrt(noisy.numel())
    assert abs(energy_bias_percent(noisy, reference)) < 5 * standard_error
    assert energy_bias_percent(noisy.clamp(max=2), reference) < -5 * standard_error  # clipped fireflies are lost light
