"""What every network is: pictures of any size in and out, and how far each of its pixels sees."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from model.padding import pad_to_multiple

Name = Literal["unet", "unet_residual", "red30", "drunet", "nafnet", "nafnet_small"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Which network, and its channels."""

    name: Name = "unet"
    """unet and red30 are the paper's two, unet_residual adds the first one's output to its input; drunet, nafnet and
    nafnet_small are newer. docs/networks.md compares them."""
    in_channels: int = 3
    """Channels of the noisy input: 3 for photographs, 1 for greyscale, 9 for renders with albedo and normal."""
    out_channels: int = 3
    """Channels of the denoised output."""


class Reach(NamedTuple):
    """What must be known of a network to cut pictures into tiles for it."""

    multiple: int
    """Its scales' common multiple: tiles begin at multiples of it, and it computes on whole ones."""
    context: int
    """How many pixels away from an output pixel its input reaches, rounded up to a multiple; tests measure it."""


class Network(nn.Module, ABC):
    """(N, in, H, W) -> (N, out, H, W) float32, any H and W of at least 1; pictures in [0, 1], centred inside."""

    title: ClassVar[str]
    """For model cards, with its source."""
    reach: ClassVar[Reach]

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()

    def forward(self, noisy: Tensor) -> Tensor:
        height, width = noisy.shape[-2:]
        return self.of_whole_cells(pad_to_multiple(noisy, self.reach.multiple))[..., :height, :width]

    def of_whole_cells(self, noisy: Tensor) -> Tensor:
        """The network itself, on H and W that are multiples of `reach.multiple`."""
        # Centring: the published network saw [-0.5, 0.5]; users of this one never need to know.
        # Back in float32 before 0.5 is added: bfloat16 would keep 8 bits of the sum.
        return self.of_centred(noisy - 0.5).float() + 0.5

    @abstractmethod
    def of_centred(self, x0: Tensor) -> Tensor:
        """The layers, from pictures in [-0.5, 0.5] to the same."""


def conv(inputs: int, outputs: int, gain: float = math.sqrt(2.0)) -> nn.Conv2d:
    """3x3 convolution, He et al. (2015) initialisation over fan-in, zero bias."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(9 * inputs))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # typed as optional; a Conv2d with bias has one
    return layer


def residual(change: Tensor, x0: Tensor) -> Tensor:
    """The input's first channels plus a change to them: the picture itself, and of a render its radiance.

    With fewer channels in than out there is nothing to add to: the change alone.
    """
    channels = change.shape[1]
    return x0[:, :channels] + change if x0.shape[1] >= channels else change
