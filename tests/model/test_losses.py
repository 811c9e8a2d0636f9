"""Losses: the fixed point of each, by fitting one constant to many noisy values; and twins that must miss it."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from model.losses import LossConfig, LossSum, annealed_gamma, l0, l1, l2, loss_at, masked_l2, relative_l2

N = 40_001
CLEAN = 0.3


def slope(loss: Callable[[Tensor, Tensor], LossSum], constant: float, values: Tensor) -> float:
    c = torch.tensor(constant, requires_grad=True)
    loss(c.expand_as(values), values).total.backward()
    assert c.grad is not None
    return float(c.grad)


def fit(loss: Callable[[Tensor, Tensor], LossSum], values: Tensor) -> float:
    """The constant at which gradient descent would come to rest: bisection on the sign of the slope."""
    low, high = float(values.min()), float(values.max())
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(loss, middle, values) > 0 else (middle, high)
    return (low + high) / 2


def fit_annealed(values: Tensor, floor: float) -> float:
    """Descend while gamma falls, as training does; the last steps are small, as a learning rate's ramp-down."""
    c, steps = float(values.mean()), 400
    for step in range(steps):
        gamma = annealed_gamma(step, steps, floor)
        slope_here = slope(partial(l0, gamma=gamma), c, values)
        c -= 0.01 * (1 - step / steps) * (1 if slope_here > 0 else -1)
    return c


def photons() -> Tensor:
    """Skewed and unbiased: mean CLEAN, median 0.25 and mode 0.25 for 4 photons at white."""
    return torch.poisson(torch.full((N,), CLEAN * 4), torch.Generator().manual_seed(1)) / 4


def impulses(p: float) -> Tensor:
    g = torch.Generator().manual_seed(2)
    hit = torch.rand(N, generator=g) < p
    return torch.where(hit, torch.rand(N, generator=g), torch.tensor(CLEAN))


def test_l2_is_a_sum_and_its_number() -> None:
    loss = l2(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 0.0, 2.0]))
    assert (float(loss.total), loss.elements) == (13.0, 3)


def test_l2_finds_the_mean_and_l1_does_not() -> None:
    values = photons()
    assert abs(fit(l2, values) - CLEAN) < 5 * float(values.std()) / N**0.5
    assert abs(fit(l1, values) - CLEAN) > 0.04


def test_l2_of_clipped_noise_misses() -> None:
    """The twin that must fail: sigma 25 at black, clipped, is ten levels too bright."""
    noise = torch.randn(N, generator=torch.Generator().manual_seed(3)) * 25 / 255
    assert abs(fit(l2, noise)) < 5 * 25 / 255 / N**0.5
    assert abs(fit(l2, noise.clamp(0, 1)) * 255 - 9.97) < 0.5


def test_l1_finds_the_median_behind_half_of_outliers_and_l2_does_not() -> None:
    values = impulses(0.4)
    assert abs(fit(l1, values) - CLEAN) < 1e-4
    assert abs(fit(l2, values) - (0.6 * CLEAN + 0.2)) < 0.005


def test_l0_finds_the_mode_behind_nine_tenths_of_outliers_and_the_others_do_not() -> None:
    values = impulses(0.9)
    assert abs(fit_annealed(values, floor=0.25) - CLEAN) < 0.005
    assert abs(fit_annealed(values, floor=1.0) - CLEAN) > 0.02  # without annealing below the median
    assert abs(fit(l1, values) - CLEAN) > 0.02
    assert abs(fit(l2, values) - CLEAN) > 0.1


def test_masked_l2_finds_the_mean_of_what_is_valid_and_l2_does_not() -> None:
    valid = (torch.rand(N, generator=torch.Generator().manual_seed(4)) > 0.6).float().view(-1, 1, 1, 1)
    values = photons().view(-1, 1, 1, 1) * valid
    error = 5 * 0.28 / float(valid.sum()) ** 0.5
    assert abs(fit(partial(masked_l2, weight=valid), values) - CLEAN) < error
    assert abs(fit(l2, values) - 0.4 * CLEAN) < error
    assert abs(fit(partial(masked_l2, weight=torch.ones_like(valid)), values) - CLEAN) > 0.1


def test_masked_l2_divides_by_valid_elements_of_all_parts() -> None:
    """Sums first: parts with few valid pixels must not count as much as parts with many."""
    g = torch.Generator().manual_seed(5)
    denoised, target = torch.rand(2, 3, 8, 8, generator=g), torch.rand(2, 3, 8, 8, generator=g)
    weight = torch.ones(2, 1, 8, 8)
    weight[0, :, 1:] = 0
    whole = masked_l2(denoised, target, weight)
    parts = [masked_l2(denoised[i : i + 1], target[i : i + 1], weight[i : i + 1]) for i in (0, 1)]
    summed = sum(part.total for part in parts) / sum(part.elements for part in parts)
    mean_of_means = sum(part.total / part.elements for part in parts) / 2
    assert float(whole.elements) == 3 * (8 + 64)
    torch.testing.assert_close(whole.total / whole.elements, summed)
    assert abs(float(summed - mean_of_means)) > 1e-3


def attached_relative_l2(denoised: Tensor, target: Tensor) -> LossSum:
    """The wrong one: the gradient flows through the denominator."""
    return LossSum(((denoised - target) / (denoised.clamp(min=0) + 0.01)).square().sum(), target.numel())


def test_relative_l2_finds_the_mean_of_bright_outliers_and_needs_its_detach() -> None:
    """Log-normal of mean 1 and coefficient of variation 1; (E[y^2] + e E[y]) / (E[y] + e) = 1.99 without it."""
    spread = 2.0**0.5
    z = torch.randn(N, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    values = torch.exp(z * torch.tensor(spread**2).log().sqrt() - torch.tensor(spread**2).log() / 2)
    assert abs(fit(relative_l2, values) - 1) < 5 / N**0.5
    assert abs(fit(attached_relative_l2, values) - 1.99) < 0.1


def test_relative_l2_is_finite_and_pulls_up_from_below_zero() -> None:
    for constant in (-0.01, -0.5, 0.0):
        assert slope(relative_l2, constant, torch.ones(10)) < 0
        assert slope(relative_l2, constant, torch.ones(10)) > -1e6


def test_l0_is_computed_in_float32() -> None:
    """In half precision its epsilon would be zero, and so would the gradient's base be."""
    loss = l0(torch.zeros(4, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.bfloat16), gamma=0.5)
    assert loss.total.dtype == torch.float32
    assert float(loss.total) == pytest.approx(4e-4, rel=1e-3)


def test_gamma_falls_in_a_line_to_its_floor() -> None:
    assert [annealed_gamma(images, 100, 0.25) for images in (0, 25, 50, 75, 100)] == [2, 1.5, 1, 0.5, 0.25]


def test_plain_losses_ignore_a_weight() -> None:
    denoised, target, weight = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    for name in ("l2", "l1", "l0", "relative_l2"):
        loss = loss_at(name, 0.5)
        assert torch.equal(loss(denoised, target).total, loss(denoised, target, weight).total)
    assert float(loss_at("masked_l2", 0.5)(denoised, target, weight).total) == 0


@pytest.mark.parametrize("floor", [0.0, -1.0, 3.0])
def test_an_impossible_floor_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match=r"loss\.gamma_floor"):
        LossConfig(gamma_floor=floor)
