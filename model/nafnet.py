"""Networks after NAFNet (Chen, Chu, Zhang and Sun 2022, "Simple baselines for image restoration").

Written from the paper's description. Its channel attention is left out: it is a mean over the whole picture, and a
picture in tiles would not be denoised as it is in one piece. Sizes are ours.
"""

from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network import Network, NetworkConfig, Reach, residual


class NafNet(Network):
    """A U-Net of blocks: 2x2 convolutions of stride 2 down, pixel shuffle up, sums for skips, the input added."""

    title: ClassVar[str] = "after NAFNet (Chen et al. 2022), 32 features, without channel attention"
    reach: ClassVar[Reach] = Reach(multiple=8, context=96)
    features: ClassVar[int] = 32
    """At full resolution; twice as many at each coarser scale."""
    down: ClassVar[tuple[int, ...]] = (2, 2, 4)
    """Blocks of the encoder by scale, finest first."""
    middle: ClassVar[int] = 6
    up: ClassVar[tuple[int, ...]] = (2, 2, 2)
    """Blocks of the decoder by scale, finest first."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__(config)
        widths = [self.features * 2**scale for scale in range(len(self.down) + 1)]
        self.first = nn.Conv2d(self.config.in_channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(blocks(width, count) for width, count in zip(widths, self.down, strict=False))
        self.coarser = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.coarsest = blocks(widths[-1], self.middle)
        self.finer = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1, bias=False) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(blocks(width, count) for width, count in zip(widths, self.up, strict=False))
        self.last = nn.Conv2d(widths[0], self.config.out_channels, 3, padding=1)

    def of_centred(self, x0: Tensor) -> Tensor:
        x, skips = self.first(x0), []
        for encode, down in zip(self.encoder, self.coarser, strict=True):
            x = encode(x)
            skips.append(x)
            x = down(x)
        x = self.coarsest(x)
        for decode, up in zip(reversed(self.decoder), reversed(self.finer), strict=True):
            x = decode(F.pixel_shuffle(up(x), 2) + skips.pop())
        return residual(self.last(x), x0)


class NafNetSmall(NafNet):
    """A tenth of the U-Net's multiplications."""

    title: ClassVar[str] = "after NAFNet (Chen et al. 2022), 16 features, without channel attention"
    reach: ClassVar[Reach] = Reach(multiple=8, context=64)
    features: ClassVar[int] = 16
    down: ClassVar[tuple[int, ...]] = (1, 1, 2)
    middle: ClassVar[int] = 4
    up: ClassVar[tuple[int, ...]] = (1, 1, 1)


def blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


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
