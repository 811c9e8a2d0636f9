"""A trained network and what is known of it, wherever it lies: a run's folder, a checkpoint, or a safetensors file."""

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from launch.checkpoint import load_checkpoint, newest_whole
from launch.exporting.weights import read_weights, weights_bytes
from launch.run_dir import existing_run
from launch.shipped import located
from model.network import Network, NetworkConfig
from model.zoo import make_network
from pipeline.errors import BadInput

EXPORTED = ".safetensors"
WHAT = "folder of a run, a checkpoint, or weights:NAME of `n2n models`"
# Of a run's configuration, what exported weights keep: nothing that names anybody's paths.
KEPT = ("corruption", "renders", "images", "data_sha256")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The averaged weights of a training, on the CPU."""

    net: Network
    kind: str = "pictures"
    """What it was trained on: pictures or renders."""
    corruption: str = "gaussian"
    """The noise; none of renders and real shots, which bring their own."""
    training: dict[str, Any] = field(default_factory=dict)
    """What is known of how it was trained: a run's configuration, `images`, `data_sha256` and, of the weights that it
    began with, `init`."""

    @property
    def channels(self) -> int:
        return self.net.config.in_channels

    def to_bytes(self, dtype: torch.dtype = torch.float32) -> bytes:
        """As a safetensors file, without anybody's paths."""
        known = {name: self.training[name] for name in KEPT if name in self.training}
        if "pairs" in self.training:
            known["pairs"] = {"target": self.training["pairs"]["target"]}
        if self.training.get("init"):
            known["init"] = {name: self.training["init"][name] for name in ("sha256", "images")}
        about = {
            "network": asdict(self.net.config),
            "kind": self.kind,
            "corruption": self.corruption,
            "training": known,
        }
        return weights_bytes(self.net.state_dict(), about, dtype)


def read_trained(name: str | Path) -> Trained:
    """The averaged weights of a run's newest whole checkpoint, of the checkpoint named, or of a safetensors file.

    Or `weights:NAME`, one of those that come with the project; NAME alone where nothing else is called so. Raises
    BadInput where there is none, or where its weights are not those of its network.
    """
    path = located(name)
    return of_bytes(read_file(path), path) if path.suffix == EXPORTED else of_document(read_document(path), path)


def first_weights(name: str, network: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a training may begin with, of anything that `read_trained` takes, and where it comes from.

    Raises BadInput where they are not the weights of `network`: two may have the same layers and use them otherwise.
    """
    path = located(name)
    file = latest_of(path)[0] if path.is_dir() else path
    trained = read_trained(file)
    net = trained.net
    if net.config.name != network:
        got, todo = f"network.name {net.config.name}", f"set network.name={net.config.name}, or begin with others"
        raise BadInput("weights of another network", name, got, f"network.name {network}, as configured", todo)
    source = {"name": name, "file": str(file.resolve()), "sha256": hashlib.sha256(read_file(file)).hexdigest()}
    return net.state_dict(), {**source, "images": trained.training.get("images")}


def of_bytes(data: bytes, where: object) -> Trained:
    """From the bytes of a file that `n2n export --format safetensors` wrote. Raises BadInput for any other."""
    tensors, about = read_weights(data, where)
    net = make_network(NetworkConfig(**about["network"]))
    load_weights(net, tensors, where)
    kind = about.get("kind", "pictures")  # which the first files do not say
    return Trained(net=net, kind=kind, corruption=about["corruption"], training=about.get("training", {}))


def of_document(document: dict[str, Any], where: object) -> Trained:
    """From what a checkpoint holds."""
    config = document["config"]
    net = make_network(NetworkConfig(**config["network"]))
    load_weights(net, document["ema"], where)
    facts = {name: document.get(name) for name in ("images", "data_sha256", "init")}
    kind = kind_of(document)
    corruption = "none" if kind == "renders" else config["corruption"]["name"]
    return Trained(net=net, kind=kind, corruption=corruption, training={**config, **facts})


def trained_on(name: str | Path) -> str:
    """Pictures or renders, without making the network."""
    path = located(name)
    if path.suffix == EXPORTED:
        return str(read_weights(read_file(path), path)[1].get("kind", "pictures"))
    return kind_of(read_document(path))


def kind_of(document: dict[str, Any]) -> str:
    """What a checkpoint's run was trained on; pictures, where it is older than the question."""
    return str(document["config"]["data"].get("kind", "pictures"))


def read_document(path: Path) -> dict[str, Any]:
    return latest_of(path)[1] if path.is_dir() else load_checkpoint(path)


def latest_of(run: Path) -> tuple[Path, dict[str, Any]]:
    """A run's newest whole checkpoint. Raises BadInput where there is none yet."""
    found = newest_whole(existing_run(run))
    if found is None:
        raise BadInput("the run has no checkpoint yet", run, "none", "at least one", "train on, or name another")
    return found


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
