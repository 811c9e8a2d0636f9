"""A trained denoiser of renders: radiance and auxiliary buffers in, radiance out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from launch.trained import Trained, read_trained
from model.light import radiance_of
from model.network import Network
from model.tiling import denoise_tiled
from pipeline.errors import BadInput
from pipeline.radiance import Planes, RendersConfig, network_input


class FrameDenoiser:
    """`FrameDenoiser.load("runs/renders")(buffers, exposure)`: linear, and as bright as what goes in."""

    def __init__(self, net: Network, renders: RendersConfig, device: torch.device) -> None:
        self.net = net
        self.renders = renders
        self.device = device

    @classmethod
    def load(cls, run_or_checkpoint: str | Path) -> "FrameDenoiser":
        """The averaged weights of a run on renders, or weights that come with the project."""
        return cls.of(read_trained(run_or_checkpoint), run_or_checkpoint)

    @classmethod
    def of(
        cls, trained: Trained, where: object = "FrameDenoiser.of", device: torch.device | None = None
    ) -> "FrameDenoiser":
        """Raises BadInput for a network that was trained on something else than renders."""
        if trained.kind != "renders":
            wanted = "a run with data.kind renders"
            raise BadInput("a denoiser of pictures", where, f"data.kind {trained.kind}", wanted)
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        net = trained.net.eval().to(device).to(memory_format=torch.channels_last)
        return cls(net, renders_config(trained.training["renders"]), device)

    @torch.no_grad()
    def __call__(self, buffers: Mapping[str, NDArray[np.generic]], exposure: float, where: object = "") -> Planes:
        """Denoise one realisation, color (3, H, W) and what else it has, of any size; in tiles where it is large.

        Raises BadInput where a buffer is missing that the network was trained with.
        """
        source = torch.from_numpy(network_input(buffers, exposure, self.renders, where))
        denoised = denoise_tiled(self.net, source.to(self.device), self.net.reach).float().cpu()
        radiance: Planes = (radiance_of(denoised) if self.renders.output == "log" else denoised).numpy()
        return (np.maximum(radiance, 0) / np.float32(exposure)).astype(np.float32)


def renders_config(saved: Mapping[str, Any]) -> RendersConfig:
    """A checkpoint's own; the first ones put out radiance, and did not say so."""
    return RendersConfig(**{"output": "linear", **saved, "buffers": tuple(saved["buffers"])})
