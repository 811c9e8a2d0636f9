"""Verb `n2n bench renders`: from OpenEXR frames to training on them, what each stage makes in a second, by itself.

One process does one stage after the other, on frames of a folder as `n2n shard --renders` takes it. With few files all
but the first reading comes from memory: these are rates of processors, not of disks.
"""

import argparse
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from launch.benches.train import LR
from launch.evaluation.scoreboard import aligned
from launch.state import TrainConfig, TrainState
from launch.world import World, join_world
from model.light import in_radiance
from model.losses import relative_l2
from model.network import NetworkConfig
from pipeline.errors import run_verb
from pipeline.order import Order
from pipeline.pairs import PairsConfig
from pipeline.radiance import RendersConfig
from pipeline.realisations import RealisationSet
from pipeline.render_pairs import RenderPairDataset
from pipeline.sharding.frames import load_frame
from pipeline.sharding.render_shards import RenderShardConfig, shard_renders
from pipeline.sources.renders import list_renders


def rate(step: Callable[[], object], seconds: float) -> float:
    """Steps a second, of at least one and after one that warms up."""
    step()
    began, count = time.perf_counter(), 0
    while not count or time.perf_counter() - began < seconds:
        step()
        count += 1
    return count / (time.perf_counter() - began)


def stages(folders: Sequence[Path], crop: int, batch: int, seconds: float, world: World) -> Iterator[list[str]]:
    """The name of each stage, of what it makes so many, and how many a second."""
    frames = list_renders(folders).frames
    megabytes = sum(frame.size for frame in frames) / len(frames) / 1e6
    endless = itertools.cycle(frames)
    decoded = rate(lambda: load_frame(next(endless)), seconds)
    yield ["decoding", f"frames, {decoded * megabytes:.0f} MB of EXR files", f"{decoded:.1f}"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with open(os.devnull, "w") as silent, contextlib.redirect_stderr(silent):  # its progress bar
            shard_renders(folders, Path(folder) / "set", RenderShardConfig())
        sharded = len(frames) / (time.perf_counter() - began)
        yield ["sharding", "frames, decoding, audit, checksums and the disk included", f"{sharded:.1f}"]
        opened = RealisationSet(Path(folder) / "set")
        have = set.intersection(*(set(opened.buffers(sample)) for sample in range(len(opened))))
        renders = RendersConfig(transfer="log", buffers=tuple(name for name in ("albedo", "normal") if name in have))
        order = Order(0, opened.samples_per_shard)
        pairs = RenderPairDataset(opened, order, PairsConfig(crop=crop), renders, 0)
        starts = itertools.count(0, batch)

        def cropped() -> object:
            start = next(starts)
            return pairs.batch(range(start, start + batch))

        cropping = batch * rate(cropped, seconds)
        yield ["cropping", f"pairs of {crop} x {crop}, {renders.channels} channels in", f"{cropping:.1f}"]
        config = NetworkConfig(in_channels=renders.channels)
        state = TrainState(config, TrainConfig(batch=batch, precision="float32"), 0, world)
        pair, loss = pairs.batch(range(batch)), in_radiance(relative_l2)
        training = batch * rate(lambda: float(state.step(pair, LR, loss)), seconds)
        yield ["training", f"pairs, steps of {batch} on {world.device}, float32", f"{training:.1f}"]
        opened.close()


def main(arguments: list[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    world = join_world()
    rows = list(stages(options.folder, options.crop, options.batch, options.seconds, world))
    print(aligned([["stage", "of what", "a second"], *rows], texts=2))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="n2n bench renders", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="+", type=Path, help="OpenEXR renders, as for n2n shard --renders")
    parser.add_argument("--crop", type=int, default=64, help="side of the views (default: 64)")
    parser.add_argument("--batch", type=int, default=4, help="pairs a step (default: 4)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    return parser


if __name__ == "__main__":
    run_verb(main)
