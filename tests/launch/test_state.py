"""The training step: what it computes whatever its division into ranks and parts, and what it leaves out."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from launch.config import parse_config
from launch.memory import memory_told
from launch.optimizer import OptimConfig
from launch.state import TrainConfig, TrainState
from launch.world import World
from model.ema import ema_weight
from model.losses import LossSum, l2, masked_l2
from model.network import NetworkConfig
from model.unet import UNet
from pipeline.errors import BadInput
from pipeline.pairs import AnyPair, MaskedPair, MeasuredPair, Pair

ALONE = World(0, 1, torch.device("cpu"))

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
    masked = MaskedPair(source[share], target[share], weight[share]), masked_l2
    known = MeasuredPair(source[share], target[share], measured[share]), l2
    cases = {
        "masked": (masked, {}),
        "measured": (known, {}),
        "masked in parts": (masked, {"accumulate": 2}),
        "measured, compressed": (known, {"compress_gradients": True}),
    }
    gradients = {}
    for name, ((pair, loss), options) in cases.items():
        state = TrainState(NetworkConfig(), TrainConfig(batch=4, precision="float32", **options), 0, world)
        state.step(pair, 0.0, loss)
        gradients[name] = torch.cat([p.grad.flatten() for p in state.net.parameters()])
    if world.first:
        torch.save(gradients, sys.argv[1])

run_in_world(run)
"""


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """Of one process, and of two ranks."""
    folder = tmp_path_factory.mktemp("step")
    (folder / "step.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for launcher, out in ([], "one.pt"), (ranks, "two.pt"):
        command = [sys.executable, *launcher, folder / "step.py", folder / out]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=240)
    return [torch.load(folder / out) for out in ("one.pt", "two.pt")]


@pytest.mark.parametrize(
    ("case", "least", "most"),
    [
        ("masked", 0, 1e-4),
        ("measured", 0, 1e-4),
        ("masked in parts", 0, 1e-4),
        ("measured, compressed", 1e-4, 1e-2),
    ],
)
def test_ranks_and_parts_make_the_gradient_of_one(
    gradients: list[dict[str, Tensor]], case: str, least: float, most: float
) -> None:
    """With masks that the ranks, and their parts, have unequal shares of; rounded where it is compressed."""
    one, two = gradients[0][case.split()[0].strip(",")], gradients[1][case]
    assert float(one.norm()) > 0
    assert least <= float((one - two).norm() / one.norm()) < most


def batch(generator: torch.Generator, size: int = 4) -> Pair:
    return Pair(*(torch.rand(size, 3, 32, 32, generator=generator) for _ in range(2)))


def fresh(optim: OptimConfig | None = None, **options: object) -> TrainState:
    config = TrainConfig(batch=4, precision="float32", **options)  # type: ignore[arg-type]
    return TrainState(NetworkConfig(), config, 7, ALONE, optim)


ADAM, MUON = OptimConfig(), OptimConfig(name="muon")


def test_the_step_is_that_of_the_plain_loop_bit_for_bit(generator: torch.Generator) -> None:
    """Whatever is added to the step for speed and safety changes nothing by default."""
    state = fresh()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = UNet().to(memory_format=torch.channels_last)
    average = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99), eps=1e-8, fused=True)
    for number in range(1, 6):
        pair = batch(generator)
        loss = (net(pair.source.to(memory_format=torch.channels_last)) - pair.target).square().sum()
        loss = loss / pair.target.numel()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        torch._foreach_lerp_(average, list(net.parameters()), ema_weight(4 * number, 4, 2000.0))
        assert torch.equal(state.step(pair, 1e-3), loss.detach())
    assert all(torch.equal(a, b) for a, b in zip(state.net.parameters(), net.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(state.ema_net.parameters(), average, strict=True))


def weighed(generator: torch.Generator) -> MaskedPair:
    weight = (torch.rand(4, 1, 32, 32, generator=generator) < torch.tensor([1, 0.5, 0.1, 0]).view(4, 1, 1, 1)).float()
    return MaskedPair(*batch(generator), weight)


def measured(generator: torch.Generator) -> MeasuredPair:
    return MeasuredPair(*batch(generator), (torch.rand(4, 1, 32, 17, generator=generator) < 0.2).float())


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize(("make", "loss"), [(batch, l2), (weighed, masked_l2), (measured, l2)])
def test_a_batch_in_parts_is_the_whole_batch(
    generator: torch.Generator, parts: int, make: Callable[..., AnyPair], loss: Callable[..., LossSum]
) -> None:
    pair, found = make(generator), []
    for accumulate in (1, parts):
        state = fresh(accumulate=accumulate)
        mean = float(state.step(pair, 1e-3, loss))
        found.append((mean, torch.cat([p.grad.flatten() for p in state.net.parameters() if p.grad is not None])))
    (whole, gradient), (divided, sum_of_parts) = found
    assert divided == pytest.approx(whole, rel=1e-5)
    assert float((gradient - sum_of_parts).norm() / gradient.norm()) < 1e-4


def test_parts_must_divide_the_share(generator: torch.Generator) -> None:
    with pytest.raises(BadInput, match=r"train\.accumulate"):
        fresh(accumulate=3).step(batch(generator), 1e-3)


class Reads(TorchDispatchMode):
    """Counts what would wait for a GPU: a number read out of a tensor, or a result whose size depends on numbers."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in func.name() for word in self.WAITING):
            self.found.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("parts", "optim"), [(1, ADAM), (2, ADAM), (1, MUON)])
@pytest.mark.parametrize(("make", "loss"), [(batch, l2), (weighed, masked_l2), (measured, l2)])
def test_nothing_in_a_step_waits_for_the_device(
    generator: torch.Generator,
    parts: int,
    optim: OptimConfig,
    make: Callable[..., AnyPair],
    loss: Callable[..., LossSum],
) -> None:
    state, pair = fresh(optim, accumulate=parts), make(generator)
    with Reads() as reads:
        for _ in range(2):
            mean = state.step(pair, 1e-3, loss)
        assert not reads.found
        float(mean)
    assert reads.found == ["aten::_local_scalar_dense"], "as this one does"


@pytest.mark.parametrize("optim", [ADAM, MUON])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_left_out_and_told(
    generator: torch.Generator, optim: OptimConfig, bad: float
) -> None:
    """No weight, no average's sum, no step count of Adam moves; the next good step is as if it had not been."""
    state, never = fresh(optim), fresh(optim)
    first, second = batch(generator), batch(generator)
    for one in (state, never):
        one.step(first, 1e-3)
    state.refuse_non_finite()
    spoilt = Pair(first.source, first.target.clone())
    spoilt.target[2, 1, 5, 5] = bad
    state.step(spoilt, 1e-3)
    for one in (state, never):
        one.step(second, 1e-3)
    assert all(torch.equal(a, b) for a, b in zip(state.net.parameters(), never.net.parameters(), strict=True))
    moments = [moments_of(one) for one in (state, never)]
    assert all(torch.equal(a[name], b[name]) for a, b in zip(*moments, strict=True) for name in a)
    with pytest.raises(BadInput, match="the step from image 4 on"):
        state.refuse_non_finite()


def moments_of(state: TrainState) -> list[dict[str, Tensor]]:
    return [kept for optimizer in state.optimizers.values() for kept in optimizer.state.values()]


def test_every_weight_has_one_optimizer() -> None:
    for optim, names in ((ADAM, ["optimizer"]), (MUON, ["optimizer", "muon"])):
        state = fresh(optim)
        assert list(state.optimizers) == names
        shared = [one for o in state.optimizers.values() for group in o.param_groups for one in group["params"]]
        assert sorted(map(id, shared)) == sorted(map(id, state.net.parameters()))


@pytest.mark.parametrize(("options", "told"), [((), "train.accumulate=2"), (("--train.accumulate=16",), "pairs.crop")])
def test_too_little_memory_names_the_setting(options: tuple[str, ...], told: str) -> None:
    """A real refusal: no machine has 800 TB for the copy of this batch."""
    config = parse_config(["--run=r", "--data.train=d", *options])
    huge = torch.zeros(1).expand(16, 3, 1 << 21, 1 << 21)
    state = fresh()
    with pytest.raises(BadInput, match=told) as raised, memory_told(config, ALONE):
        state.step(Pair(huge, huge), 1e-3)
    assert "not enough memory" in str(raised.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_without_memory_names_the_setting() -> None:
    device = torch.device("cuda", 0)
    config = parse_config(["--run=r", "--data.train=d"])
    state = TrainState(NetworkConfig(), TrainConfig(batch=16), 7, World(0, 1, device))
    huge = torch.zeros(1, device=device).expand(16, 3, 1 << 16, 1 << 16)
    with pytest.raises(BadInput, match=r"train\.accumulate=2") as raised, memory_told(config, state.world):
        state.step(Pair(huge, huge), 1e-3)
    assert "cuda:0" in str(raised.value)


def test_other_failures_are_not_taken_for_memory() -> None:
    config = parse_config(["--run=r", "--data.train=d"])
    with pytest.raises(RuntimeError, match="something else"), memory_told(config, ALONE):
        raise RuntimeError("something else")


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_switched_for_products_and_convolutions(
    fresh_switches: None, generator: torch.Generator, allowed: bool
) -> None:
    """torch keeps the two switches where there is no GPU as well; on the CPU they change no bit."""
    pair = Pair(*torch.rand(2, 2, 3, 32, 32, generator=generator))
    loss = fresh(tf32=allowed).step(pair, 1e-4)
    assert torch.backends.cuda.matmul.allow_tf32 is allowed
    assert torch.backends.cudnn.allow_tf32 is allowed
    assert float(fresh(tf32=not allowed).step(pair, 1e-4)) == float(loss)


@pytest.fixture
def fresh_switches() -> Iterator[None]:
    """What a test switches is as it was afterwards."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.faults
@pytest.mark.skipif(not shutil.which("c++") and not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_takes_the_same_steps(generator: torch.Generator) -> None:
    """Losses to rounding, over steps that depend on each other; what is saved has the same names."""
    pairs = [batch(generator) for _ in range(4)]
    plain, compiled = fresh(), fresh(compile=True)
    losses = [[float(state.step(pair, 1e-4)) for pair in pairs] for state in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert plain.state_dict()["network"].keys() == compiled.state_dict()["network"].keys()
