"""Networks after NAFNet (Chen, Chu, Zhang and Sun 2022, "Simple baselines for image restoration").

Written from the paper's description. Its channel attention is left out: it is a mean over the whole picture, and a
picture in tiles would not be denoised as it is in one piece. Sizes are ours.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from model.block_unet import BlockUNet
from model.network import Reach


class NafNet(BlockUNet):
    """Of blocks that are normalised and gated."""

    title: ClassVar[str] = "after NAFNet (Chen et al. 2022), 32 features, without channel attention"
    reach: ClassVar[Reach] = Reach(multiple=8, context=96)
    widths: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    down: ClassVar[tuple[int, ...]] = (2, 2, 4)
    middle: ClassVar[int] = 6
    up: ClassVar[tuple[int, ...]] = (2, 2, 2)

    def block(self, width: int) -> nn.Module:
        return Block(width)


class NafNetSmall(NafNet):
    """A tenth of the U-Net's multiplications."""

    title: ClassVar[str] = "after NAFNet (Chen et al. 2022), 16 features, without channel attention"
    reach: ClassVar[Reach] = Reach(multiple=8, context=64)
    widths: ClassVar[tuple[int, ...]] = (16, 32, 64, 128)
    down: ClassVar[tuple[int, ...]] = (1, 1, 2)
    middle: ClassVar[int] = 4
    up: ClassVar[tuple[int, ...]] = (1, 1, 1)


class Block(nn.Module):
    """Two residual steps, over space and over channels, each normalised, widened, gated and narrowed again.

    The gate multiplies one half of the channels by the other and is the only non-linearity. Both steps begin with a
    weight of nothing, as in the paper.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.widen1 = nn.Conv2d(width, 2 * width, 1)
        self.around = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.narrow1 = nn.Conv2d(width, width, 1)
        self.widen2 = nn.Conv2d(width, 2 * width, 1)
        self.narrow2 = nn.Conv2d(width, width, 1)
        self.weight1 = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.weight2 = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.weight1 * self.narrow1(gate(self.around(self.widen1(over_channels(self.norm1, x)))))
        return x + self.weight2 * self.narrow2(gate(self.widen2(over_channels(self.norm2, x))))


def gate(x: Tensor) -> Tensor:
    one, other = x.chunk(2, 1)
    return one * other


def over_channels(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Normalise each pixel over its channels; in channels_last nothing is moved for it."""
    if torch.compiler.is_exporting():  # the library's asks how its input lies in memory, and so for the picture's size
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
        return (x - mean) * torch.rsqrt(variance + norm.eps) * scale + shift
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
