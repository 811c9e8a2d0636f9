"""A trained denoiser, ready to be used: from a run's folder, a checkpoint, or weights that come with the project."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from launch.checkpoint import load_checkpoint, load_latest
from launch.run_dir import existing_run
from launch.shipped import located
from launch.weights import read_weights
from model.ensemble import self_ensemble
from model.network import Network, NetworkConfig
from model.tiling import TILE, Window, denoise_windows, tiles
from model.zoo import make_network
from pipeline.errors import BadInput

EXPORTED = ".safetensors"
WHAT = "folder of a run, a checkpoint, or weights:NAME of `n2n models`"


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
    """The mean over eight flips and turns, at eight times the time."""

    def __post_init__(self) -> None:
        if self.tile < 1 or self.batch < 1:
            got = f"tile {self.tile}, batch {self.batch}"
            raise BadInput("an impossible way to denoise", "the options", got, "both at least 1")


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
        self.training: dict[str, Any] = {}
        """What is known of how it was trained: a run's configuration, `images` and `data_sha256`."""

    @classmethod
    def load(
        cls, run_or_checkpoint: str | Path, device: torch.device | None = None, inference: Inference | None = None
    ) -> "Denoiser":
        """The averaged weights of a run's newest whole checkpoint, of the checkpoint named, or of a safetensors file.

        Or `weights:NAME`, one of those that come with the project; NAME alone where nothing else is called so.

        Raises BadInput where there is none, or where its weights are not those of its network.
        """
        path = located(run_or_checkpoint)
        if path.suffix == EXPORTED:
            return cls.from_weights(read_file(path), path, device, inference)
        net, document = load_network(path)
        if kind_of(document) != "pictures":
            raise BadInput("a denoiser of renders", path, "data.kind renders", "one of pictures")
        denoiser = cls(net, device, corruption=document["config"]["corruption"]["name"], inference=inference)
        denoiser.training = {
            **document["config"],
            "images": document["images"],
            "data_sha256": document.get("data_sha256"),
        }
        return denoiser

    @classmethod
    def from_weights(
        cls, data: bytes, where: object, device: torch.device | None = None, inference: Inference | None = None
    ) -> "Denoiser":
        """From the bytes of a file that `n2n export --format safetensors` wrote. Raises BadInput for any other."""
        tensors, about = read_weights(data, where)
        net = make_network(NetworkConfig(**about["network"]))
        load_weights(net, tensors, where)
        denoiser = cls(net, device, corruption=about["corruption"], inference=inference)
        denoiser.training = about.get("training", {})
        return denoiser

    @property
    def channels(self) -> int:
        return self.net.config.in_channels

    @property
    def network(self) -> dict[str, Any]:
        """The network's configuration."""
        return asdict(self.net.config)

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
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.inference.bfloat16):
                return torch.cat([self.net(part) for part in torch.split(noisy, self.channels, -3)], -3)

        multiple, context = self.net.reach
        chosen = self_ensemble(net, multiple) if self.inference.self_ensemble else net
        for window, core in denoise_windows(
            chosen, lambda view: read(view).to(self.device), wanted, size, context, self.inference.batch
        ):
            yield window, core.cpu()


def load_network(path: Path) -> tuple[Network, dict[str, Any]]:
    """The averaged network of a run or a checkpoint, and the checkpoint's document."""
    document = load_latest(existing_run(path)) if path.is_dir() else load_checkpoint(path)
    if document is None:
        raise BadInput("the run has no checkpoint yet", path, "none", "at least one", "train on, or name another")
    net = make_network(NetworkConfig(**document["config"]["network"]))
    load_weights(net, document["ema"], path)
    return net, document


def first_weights(name: str) -> dict[str, Tensor]:
    """What a training may begin with: the averaged weights of anything that has some."""
    path = located(name)
    if path.suffix == EXPORTED:
        return Denoiser.from_weights(read_file(path), path, torch.device("cpu")).net.state_dict()
    return load_network(path)[0].state_dict()


def trained_on(run_or_checkpoint: str | Path) -> str:
    """Pictures or renders; of exported weights, pictures."""
    path = located(run_or_checkpoint)
    return "pictures" if path.suffix == EXPORTED else kind_of(load_network(path)[1])


def kind_of(document: dict[str, Any]) -> str:
    """What a checkpoint's run was trained on; pictures, where it is older than the question."""
    return str(document["config"]["data"].get("kind", "pictures"))


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput("the weights cannot be read", path, error.strerror or str(error)) from error


def load_weights(net: Network, weights: dict[str, Tensor], where: object) -> None:
    """Load weights into a network. Raises BadInput naming the first parameter that does not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise BadInput(
                "a checkpoint of another network",
                where=where,
                got=f"{name} of shape {got.get(name, 'missing')}",
                wanted=f"shape {expected.get(name, 'missing')}",
                todo="use the network options that it was trained with",
            )
    net.load_state_dict(weights)
