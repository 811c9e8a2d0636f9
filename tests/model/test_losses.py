"""Losses find the statistic that they promise."""

import torch

from model.losses import l2


def test_l2_is_a_sum_and_its_number() -> None:
    loss = l2(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 0.0, 2.0]))
    assert (float(loss.total), loss.elements) == (13.0, 3)


def fixed_point(targets: torch.Tensor) -> float:
    """The constant that minimises the loss against many noisy targets."""
    constant = torch.zeros((), requires_grad=True)
    for _ in range(200):
        loss = l2(constant.expand_as(targets), targets)
        (gradient,) = torch.autograd.grad(loss.total / loss.elements, constant)
        constant.data -= 0.2 * gradient
    return float(constant.detach())


def test_l2_finds_the_mean(generator: torch.Generator) -> None:
    targets = 0.1 + 0.2 * torch.randn(100_000, generator=generator)
    assert abs(fixed_point(targets) - 0.1) < 5 * 0.2 / 100_000**0.5


def test_l2_on_clipped_targets_does_not(generator: torch.Generator) -> None:
    """The twin that must fail: why noise is never clipped."""
    targets = (0.1 + 0.2 * torch.randn(100_000, generator=generator)).clamp(0, 1)
    assert abs(fixed_point(targets) - 0.1) > 5 * 0.2 / 100_000**0.5
