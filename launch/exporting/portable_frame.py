"""A denoiser of renders as one graph for other programs: linear buffers in, linear radiance out."""

import torch
from torch import Tensor, nn

from launch.exporting.portable import Portable
from model.light import RADIANCE_CODE, radiance_of
from model.losses import HDR_EPSILON
from model.network import Network
from pipeline.radiance import AUXILIARY, GAMMA, PU21, PU_WHITE, RendersConfig


class PortableFrame(nn.Module):
    """(N, C, H, W), C as `RendersConfig.channels`, any N, H and W, to (N, 3, H, W): linear, [0, inf).

    Radiance first, times the exposure that brings its log-average luminance to 0.18, and finite; then the buffers that
    the network was trained with, as rendered: albedo, normal in [-1, 1], depth. What comes out is times that exposure.
    Transfer, clipping, padding and decoding are in the graph: `pipeline.radiance.network_input`, in torch.
    """

    def __init__(self, net: Network, renders: RendersConfig) -> None:
        super().__init__()
        self.portable = Portable(net)
        self.renders = renders

    def forward(self, buffers: Tensor) -> Tensor:
        widths = [3, *(AUXILIARY[name] for name in self.renders.buffers)]
        radiance, *auxiliary = torch.split(buffers, widths, dim=1)
        shown = [TRANSFERS[self.renders.transfer](radiance.clamp(min=0))]
        shown += [SHOWN[name](planes) for name, planes in zip(self.renders.buffers, auxiliary, strict=True)]
        denoised = self.portable(torch.cat(shown, 1))
        return (radiance_of(denoised) if self.renders.output == "log" else denoised).clamp(min=0)


def reinhard(radiance: Tensor) -> Tensor:
    return (radiance / (1 + radiance)) ** (1 / GAMMA)


def logarithm(radiance: Tensor) -> Tensor:
    return torch.log1p(radiance / HDR_EPSILON) / RADIANCE_CODE


def pu21(radiance: Tensor) -> Tensor:
    a, b, c, d, e, f, g = PU21
    power = (PU_WHITE * radiance) ** d
    return (g * (((a + b * power) / (1 + c * power)) ** e - f)).clamp(min=0) / 256


def unit_albedo(albedo: Tensor) -> Tensor:
    return albedo.clamp(0, 1)


def unit_normal(normal: Tensor) -> Tensor:
    return (normal.clamp(-1, 1) + 1) / 2


def inverse_depth(depth: Tensor) -> Tensor:
    return 1 / (1 + depth.clamp(min=0))


TRANSFERS = {"reinhard": reinhard, "log": logarithm, "pu": pu21}
SHOWN = {"albedo": unit_albedo, "normal": unit_normal, "depth": inverse_depth}
