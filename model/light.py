"""Linear light of what a network puts out encoded, for losses whose targets must stay linear.

Of photographs the code is sRGB; of renders, which have no upper end, it is a logarithm.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from model.losses import HDR_EPSILON, LossSum

RADIANCE_CODE = 2 * math.log1p(0.18 / HDR_EPSILON)  # 5.89, so that middle grey is 0.5, where a network begins
RADIANCE_TOP = 3.0  # the code of a radiance of 470,000, from where on the curve is straight


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


def radiance_of(code: Tensor) -> Tensor:
    """Radiance [0, inf) of its logarithmic code: 0 -> 0, 0.5 -> 0.18, 0.78 -> 1, 1.17 -> 10; straight outside [0, 3].

    exp(5.89 code) - 1 hundredths. Its slope is proportional to radiance + 0.01, which is what `relative_l2` divides
    by: of a code, that loss has the gradient (denoised - target) / (denoised + 0.01), which an output that is too
    bright cannot make larger than 1, be it by a factor of a million. A network that puts out radiance itself is
    thrown off by its own first steps. Straight below 0, so that the mean of noise around black can be reached.
    """
    inside = code.clamp(0.0, RADIANCE_TOP)
    curve = HDR_EPSILON * torch.expm1(RADIANCE_CODE * inside)
    return curve + RADIANCE_CODE * (curve + HDR_EPSILON).detach() * (code - inside)


def in_radiance(loss: Callable[..., LossSum]) -> Callable[..., LossSum]:
    """A loss of logarithmic codes and a linear target, whose mean no curve moves."""

    def decoded(denoised: Tensor, target: Tensor, *weight: Tensor) -> LossSum:
        return loss(radiance_of(denoised.float()), target, *weight)

    return decoded
