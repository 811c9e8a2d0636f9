"""A U-Net of residual blocks, of which others say what they are made of."""

from abc import abstractmethod
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from model.network import Network, NetworkConfig, residual


class BlockUNet(Network):
    """2x2 convolutions of stride 2 down, pixel shuffle up, sums for skips, the input added."""

    widths: ClassVar[tuple[int, ...]]
    """Features by scale, finest first."""
    down: ClassVar[tuple[int, ...]]
    """Blocks of the encoder by scale, finest first."""
    middle: ClassVar[int]
    """Blocks of the coarsest scale."""
    up: ClassVar[tuple[int, ...]]
    """Blocks of the decoder by scale, finest first."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__(config)
        widths, steps = self.widths, list(pairwise(self.widths))
        self.first = nn.Conv2d(self.config.in_channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(self.blocks(*level) for level in zip(widths, self.down, strict=False))
        self.coarser = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.coarsest = self.blocks(widths[-1], self.middle)
        self.finer = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1, bias=False) for fine, coarse in steps)
        self.decoder = nn.ModuleList(self.blocks(*level) for level in zip(widths, self.up, strict=False))
        self.last = nn.Conv2d(widths[0], self.config.out_channels, 3, padding=1)

    def blocks(self, width: int, count: int) -> nn.Sequential:
        return nn.Sequential(*(self.block(width) for _ in range(count)))

    @abstractmethod
    def block(self, width: int) -> nn.Module:
        """(N, width, H, W) -> the same, with something added."""

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
