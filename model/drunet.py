"""A network after DRUNet (Zhang, Li, Zuo, Zhang, Van Gool and Timofte 2021, "Plug-and-play image restoration with deep
denoiser prior").

Written from the paper's description: residual blocks of two convolutions without normalisation, in a U-Net of 4 scales.
Sizes are ours, and so is that it is blind: no map of noise levels goes in, and the input is added to the output.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from model.block_unet import BlockUNet
from model.network import NetworkConfig, Reach, conv


class DrUNet(BlockUNet):
    """Nearly all of it is 3x3 convolutions of 32 features and more, which processors are fastest at."""

    title: ClassVar[str] = "after DRUNet (Zhang et al. 2021), 32 to 128 features, blind"
    reach: ClassVar[Reach] = Reach(multiple=8, context=96)
    widths: ClassVar[tuple[int, ...]] = (32, 64, 96, 128)
    down: ClassVar[tuple[int, ...]] = (1, 2, 2)
    middle: ClassVar[int] = 2
    up: ClassVar[tuple[int, ...]] = (1, 2, 2)

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__(config)
        nn.init.zeros_(self.last.weight)  # it begins as the identity

    def block(self, width: int) -> nn.Module:
        return Block(width)


class Block(nn.Module):
    """Adds two 3x3 convolutions with a ReLU between them; small at first, so that sums of many blocks do not grow."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))
