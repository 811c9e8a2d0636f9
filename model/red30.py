"""RED30, a residual encoder-decoder of 30 layers (Mao, Shen and Yang 2016): the network of Noise2Noise's Table 1."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from model.network import Network, NetworkConfig, Reach, conv, residual

HALF = 15  # convolutions, and as many after them that mirror them
FEATURES = 128  # as Noise2Noise has it (Lehtinen et al. 2018, section 3.1); the original has 64


class Red30(Network):
    """30 layers of 3x3 at full resolution, ReLU; every second one of the first half is added to its mirror.

    The original calls the second half deconvolutions; of stride 1 these are convolutions, with the kernels turned.
    The last sum, with the noisy input, is linear here: half of all noisy targets are below what ReLU lets through.
    Ends with a change of nothing, so that training starts from the input; gains keep the sums' variance at one.
    4,139,395 parameters for 3 to 3 channels.
    """

    title: ClassVar[str] = "RED30 (Mao, Shen and Yang 2016), 128 features, as in Lehtinen et al. 2018"
    reach: ClassVar[Reach] = Reach(multiple=1, context=2 * HALF)

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__(config)
        n, m = self.config.in_channels, self.config.out_channels
        self.encoder = nn.ModuleList(conv(n if layer == 0 else FEATURES, FEATURES) for layer in range(HALF))
        # A layer whose output is summed with one of the same variance brings half of it.
        self.decoder = nn.ModuleList(conv(FEATURES, FEATURES, 1.0) for layer in range(HALF - 1))
        self.last = conv(FEATURES, m, gain=0.0)

    def of_centred(self, x0: Tensor) -> Tensor:
        x, skips = x0, []
        for number, layer in enumerate(self.encoder, start=1):
            x = F.relu(layer(x))
            if number % 2 == 0:
                skips.append(x)
        for number, layer in enumerate(self.decoder, start=1):
            x = layer(x)
            x = F.relu(x + skips.pop() if number % 2 == 1 else x)
        return residual(self.last(x), x0)
