"""Losses in linear light: the curves are those of camera and radiance, and the fixed point is the linear mean."""

import pytest
import torch

from model.light import RADIANCE_CODE, in_linear_light, in_radiance, linear_light, radiance_of, slope
from model.losses import HDR_EPSILON, LossSum, l2, relative_l2
from pipeline.corruptions.camera import to_linear, to_srgb

VALUES = torch.tensor([-0.3, -0.01, 0.0, 0.02, 0.0404, 0.0405, 0.2, 0.7, 1.0, 1.3])


def test_the_curve_is_that_of_the_camera() -> None:
    torch.testing.assert_close(linear_light(VALUES), to_linear(VALUES), rtol=1e-6, atol=1e-7)


def test_the_slope_is_its_derivative() -> None:
    values = VALUES.clamp(0.001, 1).double().requires_grad_()
    linear_light(values).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    torch.testing.assert_close(slope(values.detach()), values.grad, rtol=1e-6, atol=1e-7)


def fitted(loss: object, targets: torch.Tensor) -> float:
    """The one encoded value that a loss takes for many noisy linear targets."""
    value = torch.tensor(0.5, requires_grad=True)
    optimizer = torch.optim.Adam([value], lr=0.01)
    for step in range(1500):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 1500)
        optimizer.zero_grad()
        total, elements = loss(value.expand_as(targets), targets)  # type: ignore[operator]
        (total / elements).backward()
        optimizer.step()
    return float(value.detach())


def flowing(denoised: torch.Tensor, target: torch.Tensor) -> LossSum:
    """The twin: the weight takes part in the minimum."""
    scale = slope(denoised)
    return l2(linear_light(denoised) / scale, target / scale)


def test_the_fixed_point_is_the_linear_mean(generator: torch.Generator) -> None:
    targets = 0.1 + 0.08 * torch.randn(4000, generator=generator)
    wanted = float(to_srgb(targets.mean().reshape(1)))
    assert fitted(in_linear_light(l2), targets) == pytest.approx(wanted, abs=1e-3)
    assert abs(fitted(flowing, targets) - wanted) > 1e-2
    curved = float(to_srgb(targets).mean())  # what encoded targets would give
    assert abs(curved - wanted) > 1e-2


def test_errors_count_as_they_are_seen() -> None:
    """A small error of the encoded value costs the same in the dark and in the light."""
    for level in (0.05, 0.3, 0.9):
        encoded = torch.full((10,), level)
        loss = in_linear_light(l2)(encoded + 1e-3, to_linear(encoded))
        assert float(loss.total) / loss.elements == pytest.approx(1e-6, rel=0.05)


# Of renders


def test_the_code_of_radiance_is_a_logarithm_with_straight_ends() -> None:
    code = torch.tensor([-1.0, 0.0, 0.5, 2.9, 3.1]).double().requires_grad_()
    radiance = radiance_of(code)
    torch.testing.assert_close(radiance[2].item(), 0.18)
    torch.testing.assert_close(radiance[1].item(), 0.0)
    (slope_of,) = torch.autograd.grad(radiance.sum(), code)
    inside = slice(1, 4)
    torch.testing.assert_close(slope_of[inside], RADIANCE_CODE * (radiance[inside] + HDR_EPSILON).detach())
    assert float(slope_of[0]) == pytest.approx(RADIANCE_CODE * HDR_EPSILON)
    assert float(radiance[0].detach()) == pytest.approx(-RADIANCE_CODE * HDR_EPSILON)
    high = radiance_of(torch.tensor([2.9, 2.999, 3.0, 3.001, 50.0]))
    assert torch.isfinite(high).all()
    assert (high.diff() > 0).all()


def test_an_output_that_is_far_too_bright_has_a_gradient_like_any_other() -> None:
    """Of radiance itself it would fall to nothing: 1e-4 of what it is for an output that is right in scale."""
    code = torch.tensor([0.6, 1.0, 2.0, 2.9]).requires_grad_()
    in_radiance(relative_l2)(code, torch.full((4,), 0.18)).total.backward()  # type: ignore[no-untyped-call]
    assert code.grad is not None
    assert (code.grad > 0.8 * RADIANCE_CODE).all()
    assert (code.grad <= 2 * RADIANCE_CODE).all()


def through(denoised: torch.Tensor, target: torch.Tensor) -> LossSum:
    """The twin: gradient through the denominator."""
    radiance = radiance_of(denoised)
    return l2(radiance / (radiance.clamp(min=0) + HDR_EPSILON), target / (radiance.clamp(min=0) + HDR_EPSILON))


def of_codes(denoised: torch.Tensor, target: torch.Tensor) -> LossSum:
    """The other twin: targets encoded as well."""
    return l2(denoised, torch.log1p(target / HDR_EPSILON) / RADIANCE_CODE)


def test_the_fixed_point_of_noisy_radiance_is_its_linear_mean(generator: torch.Generator) -> None:
    """Exponential noise, of coefficient of variation 1, as a pixel of few samples has."""
    targets = 0.3 * torch.empty(20_000).exponential_(generator=generator)

    def brightness(loss: object) -> float:
        return float(radiance_of(torch.tensor(fitted(loss, targets))) / targets.mean())

    assert brightness(in_radiance(relative_l2)) == pytest.approx(1, abs=5e-3)
    assert brightness(through) > 1.5
    assert brightness(of_codes) < 0.7
