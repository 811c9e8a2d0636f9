"""Losses as (total, elements), so that they are divided once, by the number over all ranks."""

from typing import NamedTuple

from torch import Tensor


class LossSum(NamedTuple):
    """A loss before its division: the sum over elements, and how many there are."""

    total: Tensor
    elements: int


def l2(denoised: Tensor, target: Tensor) -> LossSum:
    """Squared error, minimised by the mean of the target given the source (Lehtinen et al. 2018, section 2).

    Right for zero-mean noise; with noisy targets it does not go to zero but to their variance.
    """
    return LossSum((denoised - target).square().sum(), target.numel())
