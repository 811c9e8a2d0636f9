"""The U-Net of Noise2Noise (Lehtinen et al. 2018, appendix A.1, Table 2), written out layer by layer."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.padding import pad_to_multiple

MULTIPLE = 32  # five poolings by two
CONTEXT = 160  # pixels around an output pixel that can reach it (158), as a multiple of MULTIPLE; tests measure it


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Channels of the network."""

    in_channels: int = 3
    """Channels of the noisy input: 3 for photographs, 1 for greyscale, 9 for renders with albedo and normal."""
    out_channels: int = 3
    """Channels of the denoised output."""


class UNet(nn.Module):
    """(N, in, H, W) -> (N, out, H, W), any H and W of at least 1; pictures in [0, 1], centred inside.

    3x3 convolutions with zero padding and bias, LeakyReLU(0.1) after each but the last, which is linear.
    Skips carry the pooled features and the raw input; upsampling is nearest-neighbour.
    991,203 parameters for 3 to 3 channels, 997,251 for 9 to 3, 988,609 for 1 to 1.
    """

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UNetConfig()
        n, m = config.in_channels, config.out_channels
        self.enc_conv0 = conv(n, 48)
        self.enc_conv1 = conv(48, 48)
        self.enc_conv2 = conv(48, 48)
        self.enc_conv3 = conv(48, 48)
        self.enc_conv4 = conv(48, 48)
        self.enc_conv5 = conv(48, 48)
        self.enc_conv6 = conv(48, 48)
        self.dec_conv5a = conv(96, 96)
        self.dec_conv5b = conv(96, 96)
        self.dec_conv4a = conv(144, 96)
        self.dec_conv4b = conv(96, 96)
        self.dec_conv3a = conv(144, 96)
        self.dec_conv3b = conv(96, 96)
        self.dec_conv2a = conv(144, 96)
        self.dec_conv2b = conv(96, 96)
        self.dec_conv1a = conv(96 + n, 64)
        self.dec_conv1b = conv(64, 32)
        self.dec_conv1c = conv(32, m, gain=1.0)  # linear, so the gain of a linear layer

    def forward(self, noisy: Tensor) -> Tensor:
        height, width = noisy.shape[-2:]
        return self.of_whole_cells(pad_to_multiple(noisy, MULTIPLE))[..., :height, :width]

    def of_whole_cells(self, noisy: Tensor) -> Tensor:
        """The network itself, on H and W that are multiples of MULTIPLE."""
        # Centring: the published network saw [-0.5, 0.5]; users of this one never need to know.
        x0 = noisy - 0.5

        x = act(self.enc_conv0(x0))
        x1 = pool(act(self.enc_conv1(x)))
        x2 = pool(act(self.enc_conv2(x1)))
        x3 = pool(act(self.enc_conv3(x2)))
        x4 = pool(act(self.enc_conv4(x3)))
        x = pool(act(self.enc_conv5(x4)))
        x = act(self.enc_conv6(x))

        x = act(self.dec_conv5a(torch.cat([up(x), x4], 1)))
        x = act(self.dec_conv5b(x))
        x = act(self.dec_conv4a(torch.cat([up(x), x3], 1)))
        x = act(self.dec_conv4b(x))
        x = act(self.dec_conv3a(torch.cat([up(x), x2], 1)))
        x = act(self.dec_conv3b(x))
        x = act(self.dec_conv2a(torch.cat([up(x), x1], 1)))
        x = act(self.dec_conv2b(x))
        x = act(self.dec_conv1a(torch.cat([up(x), x0], 1)))
        x = act(self.dec_conv1b(x))
        x = self.dec_conv1c(x)

        # Back in float32 before 0.5 is added: bfloat16 would keep 8 bits of the sum.
        return x.float() + 0.5


def conv(inputs: int, outputs: int, gain: float = math.sqrt(2.0)) -> nn.Conv2d:
    """3x3 convolution, He et al. (2015) initialisation over fan-in, zero bias.

    The gain of the last layer is 1 rather than sqrt(2): the published code does so, and re-implementations
    without it report divergence at a learning rate of 1e-3.
    """
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(9 * inputs))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # typed as optional; a Conv2d with bias has one
    return layer


def act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


def pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


def up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
