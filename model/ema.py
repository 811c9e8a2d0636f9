"""An average of the weights over the images that trained them, which denoises better than the last ones."""

import torch
from torch import nn

RAMP = 0.05  # early on, the half-life is this share of the images seen, or the first weights would linger


def ema_weight(images: int, batch: int, half_life_images: float) -> float:
    """How much of the new weights enters the average at a step of `batch` images that ends at `images`.

    A function of the clock alone, so that batch size and number of ranks do not change the average.
    """
    half_life = min(half_life_images, RAMP * images)
    return 1 - 0.5 ** (batch / half_life) if half_life > 0 else 1.0


@torch.no_grad()
def update_ema(ema_net: nn.Module, net: nn.Module, weight: float) -> None:
    """Move the average towards the network by `weight`, in one fused call."""
    torch._foreach_lerp_(list(ema_net.parameters()), list(net.parameters()), weight)
