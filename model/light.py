"""Linear light of what a network puts out encoded, for losses whose targets must stay linear."""

from collections.abc import Callable

import torch
from torch import Tensor

from model.losses import LossSum


def linear_light(encoded: Tensor) -> Tensor:
    """Linear light of sRGB values (IEC 61966-2-1), odd around zero, so that values outside [0, 1] survive."""
    x = encoded.abs()
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055).pow(2.4)).copysign(encoded)


def slope(encoded: Tensor) -> Tensor:
    """The derivative of `linear_light` at values brought into [0, 1]: from 1 / 12.92 at black to 2.27 at white."""
    x = encoded.clamp(0, 1)
    return torch.where(x <= 0.04045, 1 / 12.92, 2.4 / 1.055 * ((x + 0.055) / 1.055).pow(1.4))


def in_linear_light(loss: Callable[..., LossSum]) -> Callable[..., LossSum]:
    """A loss of an encoded output and a linear target: compared in linear light, weighed as the eye sees it.

    A network that puts out what it is shown, encoded, has little to learn; and no curve goes over the noisy target,
    whose mean it would move. Both sides are divided by the slope of the curve at the output, through which no
    gradient flows: errors count as they will be seen, and a loss that seeks the mean still finds the linear mean.
    Without that weight a dark error counts for a hundredth of a bright one.
    """

    def encoded(denoised: Tensor, target: Tensor, *weight: Tensor) -> LossSum:
        scale = slope(denoised.detach().float())
        return loss(linear_light(denoised.float()) / scale, target / scale, *weight)

    return encoded
