"""Verb `n2n bench train`: training's speed here, beside a plain loop and beside what the device's arithmetic can do."""

import argparse
import contextlib
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from launch.benches.pictures import generate
from launch.config import DataConfig, RunConfig
from launch.memory import peak_memory_gb
from launch.state import TrainConfig, TrainState
from launch.world import World, join_world, run_in_world
from pipeline.corruption import CorruptionConfig
from pipeline.errors import run_verb
from pipeline.foreign import indexed
from pipeline.inject import Inject
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.pairs import Pair, PairsConfig

LR = 1e-4
PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")


def fresh_state(precision: Any, batch: int, world: World) -> TrainState:
    network = RunConfig(run="", data=DataConfig()).network
    return TrainState(network, TrainConfig(batch=batch, precision=precision), 0, world)


class PlainLoop:
    """The step as tutorials have it: float32, contiguous, one weight at a time, and the loss read after each."""

    def __init__(self, world: World, batch: int) -> None:
        self.net = copy.deepcopy(fresh_state("float32", batch, world).net).to(memory_format=torch.contiguous_format)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), LR, (0.9, 0.99), foreach=False, fused=False)

    def step(self, pair: Pair) -> float:
        loss = F.mse_loss(self.net(pair.source), pair.target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        for average, weight in zip(self.average.parameters(), self.net.parameters(), strict=True):
            average.lerp_(weight.detach(), 0.01)
        return loss.item()


def random_pair(batch: int, crop: int, world: World) -> Pair:
    return Pair(*(torch.rand(batch, 3, crop, crop, device=world.device) for _ in range(2)))


def rate(step: Callable[[], object], items: float, seconds: float, world: World) -> float:
    """Items a second of a repeated step, after three that warm up; the device's work is waited for."""
    for _ in range(3):
        step()
    wait_for(world)
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
    wait_for(world)
    return steps * items / (time.perf_counter() - began)


def wait_for(world: World) -> None:
    if world.device.type == "cuda":
        torch.cuda.synchronize()


def step_rates(options: argparse.Namespace, crop: int, world: World) -> dict[str, list[float]]:
    """Images a second by kind of step: one list of interleaved repeats each."""
    pair = random_pair(options.batch, crop, world)
    kinds: dict[str, Callable[[], object]] = {"plain loop": partial(PlainLoop(world, options.batch).step, pair)}
    for precision in PRECISIONS:
        kinds[precision] = partial(fresh_state(precision, options.batch, world).step, pair, LR)
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(options.repeats):
        for kind, step in kinds.items():
            found[kind].append(rate(step, options.batch, options.seconds, world))
    return found


def flop_an_image(options: argparse.Namespace, crop: int, world: World) -> float:
    """Of forward and backward, as the operators' shapes have it."""
    state = fresh_state("float32", options.batch, world)
    with FlopCounterMode(display=False) as counter:
        state.step(random_pair(options.batch, crop, world), LR)
    return counter.get_total_flops() / options.batch


def product_flops(precision: str, options: argparse.Namespace, world: World) -> float:
    """Floating point operations a second of a large matrix product, the measure of what the device can do."""
    side = 8192 if world.device.type == "cuda" else 2048
    a = torch.rand(side, side, device=world.device, dtype=getattr(torch, precision))
    return rate(lambda: a @ a, 2.0 * side**3, options.seconds, world)


def data_wait(options: argparse.Namespace, crop: int, precision: str, world: World) -> float:
    """Share of the time that training waits for its loader."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        data = indexed(options.data) if options.data else generate(Path(folder))
        loader = LoaderConfig(inject=options.inject)
        dataset = open_pairs(data, PairsConfig(crop=crop), CorruptionConfig(), 0, loader)
        pairs = load_pairs(dataset, BatchShare(options.batch, 0, 1), loader, start=0, device=world.device)
        state = fresh_state(precision, options.batch, world)
        for _ in range(3):
            state.step(next(pairs)[0], LR)
        began, waited_s = time.perf_counter(), 0.0
        while time.perf_counter() - began < options.seconds * options.repeats:
            batch, wait_s = next(pairs)
            state.step(batch, LR)
            waited_s += wait_s
        return waited_s / (time.perf_counter() - began)


def scaling(options: argparse.Namespace, crop: int, precision: str, world: World) -> list[dict[str, Any]]:
    """The same global batch over 1, 2, 4 processes, which share out the cores or have a GPU each, in rounds.

    `relative` is the median over the rounds of a rate by the first one's in the same round.
    """
    most = torch.cuda.device_count() if world.device.type == "cuda" else options.batch
    counts = [processes for processes in options.processes if processes <= most]
    rounds = [[ranks_rate(options, crop, precision, processes) for processes in counts] for _ in range(options.repeats)]
    rows = []
    for column in zip(*rounds, strict=True):
        relative = [one["images_per_s"] / each[0]["images_per_s"] for one, each in zip(column, rounds, strict=True)]
        row = {"processes": column[0]["processes"], "threads": column[0]["threads"], "relative": median(relative)}
        row |= {"images_per_s": [one["images_per_s"] for one in column]}
        rows.append(row | {"exchange_share": median(one["exchange_share"] for one in column)})
    return rows


def ranks_rate(options: argparse.Namespace, crop: int, precision: str, processes: int) -> dict[str, float]:
    """What so many processes say of themselves in one start."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "launch.benches.train"]
    words = ["--rank-of", precision, "--crop", crop, "--batch", options.batch, "--seconds", options.seconds]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # of which the ranks make their share of the cores
    command = [sys.executable, "-m", *launcher, *map(str, words)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def rank_part(options: argparse.Namespace, world: World) -> None:
    """One rank's steps, with the exchange of gradients and without: what does not hide behind backward is its share."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // world.size))
    pair = random_pair(options.batch // world.size, options.crop[0], world)
    state = fresh_state(options.rank_of, options.batch, world)
    found = {"with": 0.0, "without": 0.0}
    for _ in range(3):
        state.step(pair, LR)
    began = time.perf_counter()
    for _ in range(3):
        state.step(pair, LR).item()
    # The same number of steps on every rank, whatever its clock says.
    steps = max(world.gather(max(3, round(3 * options.seconds / (time.perf_counter() - began)))))
    for kind in found:
        alone = world.size > 1 and kind == "without"
        began = time.perf_counter()
        with state.parallel.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
            for _ in range(steps):
                loss = state.step(pair, LR)
        loss.item()
        found[kind] = (time.perf_counter() - began) / steps
    if world.first:
        found = {
            "processes": world.size,
            "threads": torch.get_num_threads(),
            "images_per_s": options.batch / found["with"],
            "exchange_share": max(0.0, 1 - found["without"] / found["with"]) if world.size > 1 else 0.0,
        }
        print(json.dumps(found))


def measure(options: argparse.Namespace, crop: int, world: World) -> dict[str, Any]:
    """Everything of one crop size, printed as it comes."""
    print(f"crops of {crop}, batches of {options.batch}, {torch.get_num_threads()} threads, {world.device}")
    rates = step_rates(options, crop, world)
    for kind, found in rates.items():
        ratio = median(ours / plain for ours, plain in zip(found, rates["plain loop"], strict=True))
        print(f"  {kind:12}{median(found):9.1f} images/s  ({min(found):.1f} to {max(found):.1f})  {ratio:5.2f} x")
    best = max(PRECISIONS, key=lambda precision: median(rates[precision]))
    flop = flop_an_image(options, crop, world) * median(rates[best])
    product = product_flops(best, options, world)
    print(f"  {best}: {flop / 1e9:.0f} GFLOP/s, {100 * flop / product:.0f} % of a matrix product's {product / 1e9:.0f}")
    wait = data_wait(options, crop, best, world)
    held = peak_memory_gb(world.device)
    print(f"  data wait {100 * wait:.1f} % with {LoaderConfig().workers} workers; memory {held:.2f} GB")
    ranks = scaling(options, crop, best, world)
    for row in ranks:
        print(
            f"  {row['processes']} x {row['threads']} threads{median(row['images_per_s']):9.1f} images/s"
            f"  {row['relative']:5.2f} x, exchange {100 * row['exchange_share']:.1f} %"
        )
    share = {
        "flop_per_s": flop,
        "product_flop_per_s": product,
        "data_wait_share": wait,
        "memory_gb": held,
    }
    return {"crop": crop, "batch": options.batch, "images_per_s": rates, "best": best, "ranks": ranks, **share}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="n2n bench train", description="Measure training beside a plain loop.")
    parser.add_argument("--crop", type=int, nargs="+", default=[64, 128], help="sides of the views (default: 64 128)")
    parser.add_argument("--batch", type=int, default=16, help="pairs a step over all ranks (default: 16)")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4], help="ranks (default: 1 2 4)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved, as machines' speed drifts (default: 3)")
    parser.add_argument("--data", type=Path, help="a shard set to wait for (default: generated pictures)")
    parser.add_argument(
        "--inject", choices=get_args(Inject), default="worker", help="who draws its noise (as training)"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    parser.add_argument("--rank-of", choices=PRECISIONS, help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    if options.rank_of:
        run_in_world(partial(rank_part, options))
        return
    world = join_world()
    document = [measure(options, crop, world) for crop in options.crop]
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    run_verb(main)
