"""Every network goes the whole way: trained on two ranks, loaded, exported."""

from pathlib import Path
from typing import Any

import pytest
import torch

from launch import bench, export
from launch.denoiser import Denoiser, Inference
from launch.trained import Trained
from model.network import NetworkConfig
from model.zoo import NETWORKS, make_network

CPU = torch.device("cpu")


def denoiser(name: str) -> Denoiser:
    """With weights that are all at work: some begin as nothing."""
    torch.manual_seed(0)
    net = make_network(NetworkConfig(name=name))  # type: ignore[arg-type]
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return Denoiser(net, CPU)


@pytest.mark.parametrize("name", ["red30", "nafnet_small"])
def test_trained_on_two_ranks_and_used(name: str, run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    options = [*tiny, f"--network.name={name}", "--train.images=8", "--optim.lr=1e-4", "--data.validation="]
    options += ["--pairs.crop=16"]
    done = run_verb("launch.train", "run=run", *options, ranks=2)
    assert done.returncode == 0, done.stderr
    loaded = Denoiser.load(tmp_path / "run", CPU, Inference(tile=16, self_ensemble=True))
    assert loaded.net.config.name == name
    noisy = torch.rand(3, 20, 26)
    export.main([str(tmp_path / "run"), "--format", "safetensors", "--out", str(tmp_path / "net.safetensors")])
    again = Denoiser.load(tmp_path / "net.safetensors", CPU, Inference(self_ensemble=True))
    assert torch.allclose(again(noisy), loaded(noisy), atol=1e-5)
    resumed = run_verb("launch.train", "run=run", *options, "--network.name=unet")
    assert resumed.returncode == 2
    assert "network.name" in resumed.stderr


@pytest.mark.parametrize(
    "name", ["red30", "drunet", "nafnet_small"]
)  # the U-Net in test_export.py; nafnet is a larger small
def test_exported_for_any_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(export, "SIZES", ((1, 32, 32), (2, 33, 50), (1, 5, 2)))
    formats = ("torch",) if name == "red30" else ("onnx", "torch")
    for kind in formats:
        tested = Trained(net=denoiser(name).net.to(memory_format=torch.contiguous_format))
        _, restored = export.FORMATS[kind](tested)
        assert export.greatest_difference(tested, restored) < 1e-4


def test_the_table_of_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "NETWORKS", {"unet": NETWORKS["unet"]})
    ((name, parameters, multiplications, *_),) = bench.network_rows(CPU)
    assert (name, parameters, multiplications) == ("unet", "991,203", "174")  # 11.400 G on 256 x 256
