"""Losses in linear light: the curve is that of the camera, and the fixed point is the linear mean."""

import pytest
import torch

from model.light import in_linear_light, linear_light, slope
from model.losses import LossSum, l2
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
