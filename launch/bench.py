"""Verb: how fast the loader and the training step are on this machine, as rates and as ratios in one run."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.utils.flop_counter import FlopCounterMode

from launch.benches import capacity, peers, renders, train
from launch.benches.loader import STAGES, Rate, measure, stage_seconds, told
from launch.benches.pictures import generate
from launch.evaluation.scoreboard import aligned
from launch.state import TrainConfig, TrainState
from launch.world import World, join_world
from model.network import NetworkConfig
from model.zoo import NETWORKS, make_network
from pipeline.corruption import CorruptionConfig
from pipeline.corruptions.glyphs import CHARACTERS, FONT
from pipeline.corruptions.text import text
from pipeline.errors import BadInput, run_verb
from pipeline.foreign import indexed
from pipeline.loader import LoaderConfig
from pipeline.order import Order
from pipeline.pairs import Pair, PairDataset, PairsConfig
from pipeline.reader import ShardSet

BATCH = 16
SECONDS = 3.0  # of each measurement
REPEATS = 3  # interleaved, as these machines' speed drifts
KINDS = ("loader", "text", "step")
WORKERS = (0, 1, 2, 4)


def rate(step: Callable[[], object], items: int) -> float:
    """Items a second of a repeated step, after three that warm up."""
    for _ in range(3):
        step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        step()
        steps += 1
    return steps * items / (time.perf_counter() - began)


def bench_loader(shards: ShardSet, crop: int) -> None:
    """Pairs a second by number of workers, and where the time of a pair goes: medians of interleaved repeats."""
    order = Order(0, shards.samples_per_shard)
    dataset = PairDataset(shards, order, PairsConfig(crop=crop), CorruptionConfig(), seed=0)
    stages, rates = [], []
    for _ in range(REPEATS):
        stages.append(stage_seconds(dataset, BATCH, SECONDS))
        rates.append({n: measure(dataset, LoaderConfig(workers=n), BATCH, SECONDS) for n in WORKERS})
    middle = {}
    for n in WORKERS:
        columns = zip(*(astuple(one[n]) for one in rates), strict=True)
        middle[n] = Rate(*(median(column) for column in columns))
    print(told({name: median(one[name] for one in stages) for name in STAGES}, middle))


def step_rates(world: World, crop: int) -> Iterator[tuple[str, float]]:
    """Images a second of the training step, by precision."""
    pair = Pair(torch.rand(BATCH, 3, crop, crop), torch.rand(BATCH, 3, crop, crop))
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    for precision in precisions:
        state = TrainState(NetworkConfig(), TrainConfig(batch=BATCH, precision=precision), 0, world)
        yield precision, rate(partial(state.step, pair, 1e-4), BATCH)


def text_rates(side: int) -> Iterator[tuple[str, float]]:
    """Pictures a second with a quarter of them written over: as first done elsewhere, and as here."""
    clean, generator = torch.rand(3, side, side), torch.Generator().manual_seed(0)
    picture = Image.fromarray((clean.numpy().transpose(1, 2, 0) * 255).astype(np.uint8))
    numbers = np.random.default_rng(0)
    yield "font and count each time", rate(lambda: write_plainly(picture, 0.25, numbers), 1)
    yield "as here", rate(lambda: text(clean, 0.25, generator), 1)


def write_plainly(picture: Image.Image, p: float, numbers: np.random.Generator) -> Image.Image:
    """Text as known implementations write it: load the font for each string, and count the whole picture after it.

    Sizes, lengths and places of theirs: 16 to 20 pixels, 10 to 24 letters, the corner anywhere in the picture.
    """
    written, mask = picture.copy(), Image.new("1", picture.size)
    while np.asarray(mask).mean() <= p:
        font = ImageFont.truetype(str(FONT), int(numbers.integers(16, 21)))
        letters = "".join(numbers.choice(list(CHARACTERS), numbers.integers(10, 25)))
        place = (int(numbers.integers(picture.width)), int(numbers.integers(picture.height)))
        colour = tuple(int(part) for part in numbers.integers(0, 255, 3))
        ImageDraw.Draw(written).text(place, letters, colour, font=font)
        ImageDraw.Draw(mask).text(place, letters, 1, font=font)
    return written


def network_rows(device: torch.device) -> Iterator[list[str]]:
    """What each network costs: parameters, multiplications, and the time that a picture takes in one piece."""
    side = 256
    clock = time.process_time if device.type == "cpu" else time.perf_counter  # a shared core goes by the former
    noisy = torch.rand(1, 3, side, side, device=device).to(memory_format=torch.channels_last)
    for name in NETWORKS:
        net = make_network(NetworkConfig(name=name)).eval().to(device).to(memory_format=torch.channels_last)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(noisy)
        seconds = []
        for _ in range(REPEATS):
            began = clock()
            with torch.no_grad():
                float(net(noisy).sum())  # waits for a GPU
            seconds.append((clock() - began) / side**2 * 1e6)
        multiplications = counter.get_total_flops() / 2 / side**2 * 1e6
        cells = (f"{parameters:,}", f"{multiplications / 1e9:.0f}", f"{median(seconds):.2f}", f"{min(seconds):.2f}")
        yield [name, *cells, str(net.reach.context)]


def report(title: str, measure: Callable[[], Iterator[tuple[str, float]]]) -> None:
    """Print the median and range of each rate, and its ratio to the first, over interleaved repeats."""
    rounds = [dict(measure()) for _ in range(REPEATS)]
    first = next(iter(rounds[0]))
    print(title)
    for name in rounds[0]:
        rates = [one[name] for one in rounds]
        ratio = median(one[name] / one[first] for one in rounds)
        print(f"  {name:24}{median(rates):10.1f} a second  ({min(rates):.1f} to {max(rates):.1f})  {ratio:5.2f} x")


def main(arguments: list[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else arguments
    deeper = {"train": train, "capacity": capacity, "renders": renders, "peers": peers}
    if words and words[0] in deeper:
        deeper[words[0]].main(words[1:])
        return
    parser = argparse.ArgumentParser(
        prog="n2n bench",
        description="Measure the loader and the training step; `n2n bench train` and `n2n bench peers` go deeper.",
        epilog=" ".join(verb.make_parser().format_usage() for verb in deeper.values()),
    )
    parser.add_argument("what", nargs="*", help=f"of {', '.join(KINDS)} (default: all), or one of {', '.join(deeper)}")
    parser.add_argument("--data", type=Path, help="a shard set (default: generated pictures)")
    parser.add_argument("--crop", type=int, default=64, help="side of the views (default: 64)")
    parser.add_argument("--networks", action="store_true", help="instead: what each network costs by the megapixel")
    options = parser.parse_args(words)
    if not set(options.what) <= set(KINDS):
        raise BadInput("nothing of that name to measure", "n2n bench", " ".join(options.what), " or ".join(KINDS))
    wanted = options.what or KINDS
    world = join_world()
    if options.networks:
        print(f"a megapixel, float32, on {world.device} with {torch.get_num_threads()} threads")
        headings = ["network", "parameters", "G multiply-adds", "median s", "least s", "context"]
        print(aligned([headings, *network_rows(world.device)], texts=1))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = indexed(options.data) if options.data else generate(Path(folder))
        shards = ShardSet(data)
        size = sum(entry.bytes for entry in shards.index.shards) / len(shards) / 1000
        print(
            f"{len(shards)} pictures of {size:.0f} kB, crops of {options.crop}, batches of {BATCH}, on {world.device}"
        )
        if "loader" in wanted:
            bench_loader(shards, options.crop)
        for side in (64, 256) if "text" in wanted else ():
            report(f"text over {side} x {side}, pictures", partial(text_rates, side))
        if "step" in wanted:
            report("training step, images", lambda: step_rates(world, options.crop))


if __name__ == "__main__":
    run_verb(main)
