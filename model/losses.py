"""Losses as (total, elements), so that they are divided once, by the number over all ranks; and what each seeks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor

L0_EPSILON = 1e-8  # Lehtinen et al. 2018, section 3.2
HDR_EPSILON = 0.01  # the same, section 3.3


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What training minimises."""

    name: Literal["auto", "l2", "masked_l2", "l1", "l0", "relative_l2"] = "auto"
    """auto is the one that finds the clean picture behind the corruption; others that do are allowed."""
    allow_biased: bool = False
    """Allow a loss that does not find the clean picture behind the corruption."""
    gamma_floor: float = 0.25
    """l0: least exponent. The paper goes to 0; below 0.13 a re-implementation's published curves fall by 3 dB."""

    def __post_init__(self) -> None:
        if not 0 < self.gamma_floor <= 2:
            raise ValueError(f"loss.gamma_floor is {self.gamma_floor}; wanted an exponent in (0, 2]")


class LossSum(NamedTuple):
    """A loss before its division: the sum over elements, and how many there are."""

    total: Tensor
    elements: int | Tensor
    """A number where it is the same on every rank; a scalar tensor where it depends on the data."""


# Which statistic of the target, given the source, is the minimiser (Lehtinen et al. 2018, section 2).
SEEKS = {"l2": "mean", "relative_l2": "mean", "masked_l2": "masked mean", "l1": "median", "l0": "mode"}


def l2(denoised: Tensor, target: Tensor) -> LossSum:
    """Squared error, minimised by the mean of the target given the source (Lehtinen et al. 2018, section 2).

    Right for zero-mean noise; with noisy targets it does not go to zero but to their variance.
    """
    return LossSum((denoised - target).square().sum(), target.numel())


def masked_l2(denoised: Tensor, target: Tensor, weight: Tensor) -> LossSum:
    """Squared error where the target is valid, minimised by the mean over valid targets (the same, equation 7).

    `weight` is (N, 1, H, W) and holds for all channels. Elements are valid ones, so a pixel counts the same
    whatever else its picture has lost; they are counted in float64, as float32 ends at 16.7 million.
    """
    channels = target.shape[1]
    return LossSum((weight * (denoised - target).square()).sum(), channels * weight.double().sum())


def l1(denoised: Tensor, target: Tensor) -> LossSum:
    """Absolute error, minimised by the median of the target given the source (the same, section 2)."""
    return LossSum((denoised - target).abs().sum(), target.numel())


def l0(denoised: Tensor, target: Tensor, *, gamma: float) -> LossSum:
    """(|d| + 1e-8)^gamma, whose minimiser goes from the mean at gamma 2 by the median towards the mode at 0.

    In float32 whatever comes in: 1e-8 is below the least number of half precision. Source: the same, section 3.2.
    """
    distance = (denoised.float() - target.float()).abs()
    return LossSum((distance + L0_EPSILON).pow(gamma).sum(), target.numel())


def relative_l2(denoised: Tensor, target: Tensor) -> LossSum:
    """Squared error over (denoised + 0.01)^2, minimised by the mean of the target, and deaf to outliers in highlights.

    No gradient flows through the denominator: with it, the minimum would be (E[y^2] + 0.01 E[y]) / (E[y] + 0.01),
    over-bright. It is kept from zero for a negative output, which the numerator is free to have.
    Source: the same, section 3.3.
    """
    scale = denoised.detach().clamp(min=0) + HDR_EPSILON
    return LossSum(((denoised - target) / scale).square().sum(), target.numel())


def annealed_gamma(images: int, total: int, floor: float) -> float:
    """2 at the first image, down a straight line to 0 at the last, but not below `floor`."""
    return max(floor, 2 * (1 - images / total))


def loss_at(name: str, gamma: float) -> Callable[..., LossSum]:
    """The loss of that name, of (denoised, target, weight); only masked_l2 needs and minds the weight."""
    if name == "masked_l2":
        return masked_l2
    losses: dict[str, Callable[[Tensor, Tensor], LossSum]] = {
        "l2": l2,
        "l1": l1,
        "l0": partial(l0, gamma=gamma),
        "relative_l2": relative_l2,
    }
    plain = losses[name]

    def unweighted(denoised: Tensor, target: Tensor, _weight: Tensor | None = None) -> LossSum:
        return plain(denoised, target)

    return unweighted
