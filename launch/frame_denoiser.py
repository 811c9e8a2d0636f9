"""A trained denoiser of renders: radiance and auxiliary buffers in, radiance out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from launch.denoiser import Inference
from launch.trained import Trained, read_trained
from model.light import radiance_of
from model.network import Network
from model.tiling import Window, denoise_windows, tiles
from pipeline.errors import BadInput
from pipeline.radiance import Planes, RendersConfig, network_input


class FrameDenoiser:
    """`FrameDenoiser.load("runs/renders")(buffers, exposure)`: linear, and as bright as what goes in."""

    def __init__(
        self, net: Network, renders: RendersConfig, device: torch.device, inference: Inference | None = None
    ) -> None:
        self.net = net
        self.renders = renders
        self.device = device
        self.inference = inference or Inference()

    @classmethod
    def load(
        cls, run_or_checkpoint: str | Path, device: torch.device | None = None, inference: Inference | None = None
    ) -> "FrameDenoiser":
        """The averaged weights of a run on renders, or weights that come with the project."""
        return cls.of(read_trained(run_or_checkpoint), run_or_checkpoint, device, inference)

    @classmethod
    def of(
        cls,
        trained: Trained,
        where: object = "FrameDenoiser.of",
        device: torch.device | None = None,
        inference: Inference | None = None,
    ) -> "FrameDenoiser":
        """Raises BadInput for a network that was trained on something else than renders."""
        if trained.kind != "renders":
            wanted = "a run with data.kind renders"
            raise BadInput("a denoiser of pictures", where, f"data.kind {trained.kind}", wanted)
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        net = trained.net.eval().to(device).to(memory_format=torch.channels_last)
        return cls(net, renders_config(trained.training["renders"]), device, inference)

    @torch.no_grad()
    def __call__(self, buffers: Mapping[str, NDArray[np.generic]], exposure: float, where: object = "") -> Planes:
        """Denoise one realisation, color (3, H, W) and what else it has, of any size; in tiles where it is large.

        Raises BadInput where a buffer is missing that the network was trained with.
        """
        height, width = buffers["color"].shape[-2:]
        multiple, context = self.net.reach

        def read(view: Window) -> Tensor:
            rows, columns = slice(view.top, view.bottom), slice(view.left, view.right)
            part = {name: planes[:, rows, columns] for name, planes in buffers.items()}
            return torch.from_numpy(network_input(part, exposure, self.renders, where)).to(self.device)

        # A flip leaves the normals' components as they are, as it does in training, which flips frames and never turns
        # them; quarter turns were measured to gain nothing more (docs/renders.md).
        net = self.inference.averaged(self.radiance, multiple, quarter_turns=False)
        wanted = tiles(height, width, multiple, self.inference.tile)
        result: Planes = np.empty((3, height, width), np.float32)
        for window, core in denoise_windows(net, read, wanted, (height, width), context, self.inference.batch):
            radiance = np.maximum(core.cpu().numpy(), 0) / np.float32(exposure)
            result[:, window.top : window.bottom, window.left : window.right] = radiance
        return result

    def radiance(self, shown: Tensor) -> Tensor:
        """What the network makes of its input, decoded: of several views, the mean is that of light, not of codes."""
        denoised = self.inference.rounded(self.net, self.device)(shown).float()
        return radiance_of(denoised) if self.renders.output == "log" else denoised


def renders_config(saved: Mapping[str, Any]) -> RendersConfig:
    """A checkpoint's own; the first ones put out radiance, and did not say so."""
    return RendersConfig(**{"output": "linear", **saved, "buffers": tuple(saved["buffers"])})
