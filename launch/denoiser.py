"""A trained denoiser, ready to be used: from a run's folder or a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from launch.checkpoint import load_checkpoint, load_latest
from launch.run_dir import existing_run
from model.tiling import denoise_tiled
from model.unet import UNet, UNetConfig
from pipeline.corruptions.camera import to_srgb
from pipeline.corruptions.registry import LAWS
from pipeline.errors import BadInput


class Denoiser:
    """Noisy pictures in, denoised ones out: `Denoiser.load("runs/first")(noisy)`."""

    def __init__(self, net: UNet, device: torch.device | None = None, *, corruption: str = "gaussian") -> None:
        """`corruption` names the noise that the network was trained on; behind some it puts out linear light."""
        self.corruption = corruption
        self.linear = LAWS[corruption].linear
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = net.eval().to(self.device).to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, run_or_checkpoint: str | Path) -> "Denoiser":
        """The averaged weights of a run's newest whole checkpoint, or of the checkpoint named.

        Raises BadInput where there is none, or where its weights are not those of its network.
        """
        net, config = load_network(Path(run_or_checkpoint))
        if kind_of(config) != "pictures":
            raise BadInput("a denoiser of renders", run_or_checkpoint, "data.kind renders", "one of pictures")
        return cls(net, corruption=config["corruption"]["name"])

    @torch.no_grad()
    def __call__(self, noisy: Tensor) -> Tensor:
        """Denoise (3, H, W) in [0, 1], of any size; the result is on the CPU, encoded as `noisy` is, unclipped.

        A network for grey takes the channels of (3, H, W) one by one.
        """
        channels = self.net.enc_conv0.in_channels
        parts = torch.split(noisy.to(self.device), channels)
        denoised = torch.cat([denoise_tiled(self.net, part) for part in parts]).cpu()
        return to_srgb(denoised) if self.linear else denoised


def load_network(path: Path) -> tuple[UNet, dict[str, Any]]:
    """The averaged network of a run or a checkpoint, and the configuration that it was trained with."""
    document = load_latest(existing_run(path)) if path.is_dir() else load_checkpoint(path)
    if document is None:
        raise BadInput("the run has no checkpoint yet", path, "none", "at least one", "train on, or name another")
    net = UNet(UNetConfig(**document["config"]["network"]))
    load_weights(net, document["ema"], path)
    return net, document["config"]


def trained_on(path: Path) -> str:
    """Pictures or renders."""
    return kind_of(load_network(path)[1])


def kind_of(config: dict[str, Any]) -> str:
    """What a run was trained on; pictures, where it is older than the question."""
    return str(config["data"].get("kind", "pictures"))


def load_weights(net: UNet, weights: dict[str, Tensor], where: Path) -> None:
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
