"""A trained denoiser, ready to be used: from a run's folder, a checkpoint, or weights that come with the project."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from launch.trained import Trained, read_trained
from model.ensemble import self_ensemble
from model.network import Network
from model.tiling import TILE, Window, denoise_windows, tiles
from pipeline.errors import BadInput

Apply = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How a network is put to use; what comes out differs by rounding alone, but for the ensemble."""

    tile: int = TILE
    """Pixels a side of the tiles that large pictures are cut into."""
    batch: int = 1
    """Tiles that go through the network together."""
    bfloat16: bool = False
    """Half the memory, faster on hardware that has it, and about 1e-2 of rounding."""
    self_ensemble: bool = False
    """The mean over eight flips and turns, at eight times the time; of renders over the four flips."""

    def __post_init__(self) -> None:
        if self.tile < 1 or self.batch < 1:
            got = f"tile {self.tile}, batch {self.batch}"
            raise BadInput("an impossible way to denoise", "the options", got, "both at least 1")

    def rounded(self, net: Apply, device: torch.device) -> Apply:
        """The network in bfloat16, where that is wanted."""

        def computed(noisy: Tensor) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
                return net(noisy)

        return computed

    def averaged(self, net: Apply, multiple: int, quarter_turns: bool = True) -> Apply:
        """The mean over flips and turns, where that is wanted."""
        return self_ensemble(net, multiple, quarter_turns) if self.self_ensemble else net


class Denoiser:
    """Noisy pictures in, denoised ones out: `Denoiser.load("gaussian")(noisy)`."""

    def __init__(
        self,
        net: Network,
        device: torch.device | None = None,
        *,
        corruption: str = "gaussian",
        inference: Inference | None = None,
    ) -> None:
        """`corruption` names the noise that the network was trained on."""
        self.corruption = corruption
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = net.eval().to(self.device).to(memory_format=torch.channels_last)
        self.inference = inference or Inference()

    @classmethod
    def load(
        cls, run_or_checkpoint: str | Path, device: torch.device | None = None, inference: Inference | None = None
    ) -> "Denoiser":
        """The averaged weights of a run's newest whole checkpoint, of the checkpoint named, or of a safetensors file.

        Or `weights:NAME`, one of those that come with the project; NAME alone where nothing else is called so.

        Raises BadInput where there is none, or where its weights are not those of its network.
        """
        return cls.of(read_trained(run_or_checkpoint), device, inference, run_or_checkpoint)

    @classmethod
    def of(
        cls,
        trained: Trained,
        device: torch.device | None = None,
        inference: Inference | None = None,
        where: object = "Denoiser.of",
    ) -> "Denoiser":
        """Raises BadInput for a network that was trained on renders."""
        if trained.kind != "pictures":
            raise BadInput("a denoiser of renders", where, f"data.kind {trained.kind}", "one of pictures")
        return cls(trained.net, device, corruption=trained.corruption, inference=inference)

    @property
    def channels(self) -> int:
        return self.net.config.in_channels

    def __call__(self, noisy: Tensor) -> Tensor:
        """Denoise (3, H, W) in [0, 1], of any size; the result is on the CPU, encoded as `noisy` is, unclipped.

        A network for grey takes the channels of (C, H, W) one by one.
        """
        height, width = noisy.shape[-2:]
        result = torch.empty(len(noisy), height, width)
        for window, core in self.windows(lambda view: view.of(noisy), self.tiles(height, width), (height, width)):
            window.of(result).copy_(core)
        return result

    def tiles(self, height: int, width: int) -> Iterator[Window]:
        """A picture of this size in windows of `inference.tile`, row by row."""
        return tiles(height, width, self.net.reach.multiple, self.inference.tile)

    @torch.no_grad()
    def windows(
        self, read: Callable[[Window], Tensor], wanted: Iterator[Window], size: tuple[int, int]
    ) -> Iterator[tuple[Window, Tensor]]:
        """Denoise the windows wanted of a picture of `size` (H, W), of which `read` gives any part as (3, h, w).

        For pictures that are never in memory as a whole; they may come in another order.
        """

        def net(noisy: Tensor) -> Tensor:
            return torch.cat([self.net(part) for part in torch.split(noisy, self.channels, -3)], -3)

        multiple, context = self.net.reach
        chosen = self.inference.averaged(self.inference.rounded(net, self.device), multiple)
        for window, core in denoise_windows(
            chosen, lambda view: read(view).to(self.device), wanted, size, context, self.inference.batch
        ):
            yield window, core.cpu()
