"""The U-Net of Noise2Noise (Lehtinen et al. 2018, appendix A.1, Table 2), written out layer by layer."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network import Network, NetworkConfig, Reach, conv, residual


class UNet(Network):
    """A network of six scales.

    3x3 convolutions with zero padding and bias, LeakyReLU(0.1) after each but the last, which is linear.
    Skips carry the pooled features and the raw input; upsampling is nearest-neighbour.
    991,203 parameters for 3 to 3 channels, 997,251 for 9 to 3, 988,609 for 1 to 1.
    """

    title: ClassVar[str] = "U-Net of Noise2Noise (Lehtinen et al. 2018)"
    reach: ClassVar[Reach] = Reach(multiple=32, context=160)  # five poolings by two; an output pixel sees 158 away

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__(config)
        n, m = self.config.in_channels, self.config.out_channels
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
        # Linear, so the gain of a linear layer, as in the published code: without it, re-implementations report
        # divergence at a learning rate of 1e-3.
        self.dec_conv1c = conv(32, m, gain=1.0)

    def of_centred(self, x0: Tensor) -> Tensor:
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
        return self.dec_conv1c(x)


class ResidualUNet(UNet):
    """The same layers, whose output is added to the input: it begins as the identity, and only learns the noise.

    That is not in the paper; DnCNN (Zhang et al. 2017) and its successors do it. Short trainings gain much by it.
    """

    title: ClassVar[str] = "U-Net of Noise2Noise (Lehtinen et al. 2018), added to its input"

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__(config)
        nn.init.zeros_(self.dec_conv1c.weight)

    def of_centred(self, x0: Tensor) -> Tensor:
        return residual(super().of_centred(x0), x0)


def act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


def pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


def up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
