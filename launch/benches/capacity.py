"""Verb `n2n bench capacity`: what a training over many nodes asks of disks, networks and processors, from measurements.

A rank's images a second and a pair's processor time are measured here, or given as measured elsewhere; the bytes of a
picture are those of the set. All else is arithmetic, which supposes that ranks do not slow each other down.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from launch.benches.loader import stage_seconds
from launch.benches.train import LR, fresh_state, random_pair, rate
from launch.evaluation.scoreboard import aligned
from launch.state import TrainConfig, use_bfloat16
from launch.world import World, join_world
from pipeline.corruption import CorruptionConfig
from pipeline.crops import Crops
from pipeline.errors import run_verb
from pipeline.foreign import indexed
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.reader import ShardSet

GRADIENT_BYTES = 4  # float32; half of it with train.compress_gradients
ONCE_A_PICTURE = ("read", "decode")  # the stages of a pair that several crops of one picture share


@dataclass(frozen=True)
class Measured:
    """What the arithmetic begins with."""

    rate: float
    """Images a second of one rank."""
    pair_s: float
    """Processor seconds of the loader for one image."""
    picture_bytes: float
    pictures: int
    parameters: int


@dataclass(frozen=True)
class Need:
    """Of so many nodes."""

    nodes: int
    images_per_s: float
    """Of all of them."""
    read_mb_per_s: float
    """A node, from the set, as long as the node's memory does not hold it."""
    loader_cores: float
    """A node, busy with nothing but the loader."""
    exchange_mb_per_s: float
    """A node, sent, and as much received: in a ring of n nodes 2 (n - 1) / n of the gradients a step."""
    epoch_min: float
    """Once through all pictures."""
    run_h: float


def need(measured: Measured, nodes: int, ranks: int, batch: int, crops: int, images: int) -> Need:
    """Of `nodes` with `ranks` each, `batch` pairs a rank and step, and `crops` of a picture at each visit."""
    node_rate = measured.rate * ranks
    gradients = GRADIENT_BYTES * measured.parameters * 2 * (nodes - 1) / nodes
    return Need(
        nodes=nodes,
        images_per_s=node_rate * nodes,
        read_mb_per_s=node_rate / crops * measured.picture_bytes / 1e6,
        loader_cores=node_rate * measured.pair_s,
        exchange_mb_per_s=gradients * measured.rate / batch / 1e6,
        epoch_min=measured.pictures * crops / (node_rate * nodes) / 60,
        run_h=images / (node_rate * nodes) / 3600,
    )


def measure(options: argparse.Namespace, world: World) -> Measured:
    shards = ShardSet(indexed(options.data))
    order = Order(0, shards.samples_per_shard, crops=Crops(options.crops_per_image))
    dataset = PairDataset(shards, order, PairsConfig(crop=options.crop), CorruptionConfig(), seed=0)
    stages = [stage_seconds(dataset, options.batch, options.seconds) for _ in range(options.repeats)]
    middle = {name: median(one[name] for one in stages) for name in stages[0]}
    pair_s = sum(s / options.crops_per_image if name in ONCE_A_PICTURE else s for name, s in middle.items())
    precision = "bfloat16" if use_bfloat16(TrainConfig(), world.device) else "float32"
    state = fresh_state(precision, options.batch, world)
    step = partial(state.step, random_pair(options.batch, options.crop, world), LR)
    rates = [rate(step, options.batch, options.seconds, world) for _ in range(0 if options.rate else options.repeats)]
    return Measured(
        rate=options.rate or median(rates),
        pair_s=pair_s,
        picture_bytes=sum(entry.bytes for entry in shards.index.shards) / len(shards),
        pictures=len(shards),
        parameters=sum(parameter.numel() for parameter in state.net.parameters()),
    )


def rows(needs: list[Need]) -> Iterator[list[str]]:
    yield ["nodes", "images/s", "read MB/s", "loader cores", "exchange MB/s", "epoch min", "run h"]
    for one in needs:
        numbers = (one.images_per_s, one.read_mb_per_s, one.loader_cores, one.exchange_mb_per_s)
        times = (f"{time:,.3g}" for time in (one.epoch_min, one.run_h))
        yield [str(one.nodes), *(f"{number:,.1f}" for number in numbers), *times]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="n2n bench capacity", description="What many nodes need, from measurements.")
    parser.add_argument("--data", type=Path, required=True, help="the shard set to train on")
    parser.add_argument("--rate", type=float, help="images/s of a rank, by `n2n bench train` (default: measured here)")
    parser.add_argument("--crop", type=int, default=64, help="side of the views (default: 64)")
    parser.add_argument("--batch", type=int, default=16, help="pairs a rank and step (default: 16)")
    parser.add_argument("--crops-per-image", type=int, default=1, help="loader.crops_per_image (default: 1)")
    parser.add_argument("--ranks", type=int, help="of a node (default: its GPUs, or 1)")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="(default: 1 to 64)")
    parser.add_argument("--images", type=int, default=2_000_000, help="of a run (default: 2,000,000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median is taken (default: 3)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser


def main(arguments: list[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    world = join_world()
    measured = measure(options, world)
    ranks = options.ranks or torch.cuda.device_count() or 1
    needs = [need(measured, n, ranks, options.batch, options.crops_per_image, options.images) for n in options.nodes]
    gb, memory_gb = measured.pictures * measured.picture_bytes / 1e9, os.sysconf("SC_PHYS_PAGES") * 4096 / 1e9
    print(
        f"{measured.pictures:,} pictures of {measured.picture_bytes / 1000:.0f} kB, {gb:.1f} GB in all;"
        f" this node's memory has {memory_gb:.0f} GB"
    )
    origin = "as given" if options.rate else f"measured on {world.device} with {torch.get_num_threads()} thread(s)"
    print(f"a rank: {measured.rate:.1f} images/s of {options.crop} x {options.crop}, {origin}; {ranks} rank(s) a node")
    print(f"the loader: {measured.pair_s * 1e6:.0f} us of a processor an image")
    print(aligned(list(rows(needs)), texts=0))
    if options.json:
        document = {"measured": asdict(measured), "needs": [asdict(one) for one in needs]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    run_verb(main)
