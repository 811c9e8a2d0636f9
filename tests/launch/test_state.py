"""The training step: a masked loss is divided by the valid pixels of all ranks, which need not have as many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import sys
import torch
from launch.state import TrainConfig, TrainState
from launch.world import run_in_world
from model.losses import l2, masked_l2
from model.network import NetworkConfig
from pipeline.pairs import MaskedPair, MeasuredPair

def run(world):
    g = torch.Generator().manual_seed(0)
    source, target = torch.rand(4, 3, 32, 32, generator=g), torch.rand(4, 3, 32, 32, generator=g)
    weight = torch.ones(4, 1, 32, 32)
    weight[:2, :, 2:] = 0
    measured = (torch.rand(4, 1, 32, 17, generator=g) < 0.2).float()
    share = slice(world.rank * 4 // world.size, (world.rank + 1) * 4 // world.size)
    state = TrainState(NetworkConfig(), TrainConfig(batch=4, precision="float32"), 0, world)
    pairs = {
        "masked": (MaskedPair(source[share], target[share], weight[share]), masked_l2),
        "measured": (MeasuredPair(source[share], target[share], measured[share]), l2),
    }
    pair, loss = pairs[sys.argv[2]]
    state.step(pair, 0.0, loss)
    if world.first:
        torch.save([p.grad for p in state.net.parameters()], sys.argv[1])

run_in_world(run)
"""


def gradients(folder: Path, ranks: int, pair: str) -> torch.Tensor:
    (folder / "step.py").write_text(SCRIPT)
    out = folder / f"gradients{ranks}.pt"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, folder / "step.py", out, pair], env=environment, check=True, capture_output=True, timeout=120
    )
    return torch.cat([gradient.flatten() for gradient in torch.load(out)])


@pytest.mark.parametrize("pair", ["masked", "measured"])
def test_ranks_with_unequal_masks_make_the_gradient_of_one(tmp_path: Path, pair: str) -> None:
    one, two = gradients(tmp_path, 1, pair), gradients(tmp_path, 2, pair)
    assert float(one.norm()) > 0
    assert float((one - two).norm() / one.norm()) < 1e-4
