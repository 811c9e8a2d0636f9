"""What a pair costs: the loader's rate and its processor time by number of workers, and the time of each stage."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.compiled import core
from pipeline.corruption import two_views
from pipeline.geometry import random_place, view_at
from pipeline.jpeg_part import decode_around
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.pairs import PairDataset
from pipeline.picture import decode, to_unit
from pipeline.randomness import draw_generators

STAGES = ("read", "decode", "crop", "noise", "collate", "copy")


@dataclass(frozen=True)
class Rate:
    """What a loader with so many workers delivered."""

    pairs_per_s: float
    cpu_s_per_1000: float
    """Of this process and all workers together."""


def measure(dataset: PairDataset, config: LoaderConfig, batch: int, seconds: float) -> Rate:
    """The loader as training has it, after as many batches as its workers hold ready."""
    batches = load_pairs(dataset, BatchShare(batch, 0, 1), config, start=0)
    for _ in range(1 + config.workers * config.prefetch):
        next(batches)
    count, spent = 0, -cpu_seconds()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(batches)
        count += batch
    wall = time.perf_counter() - began
    spent += cpu_seconds()
    batches.close()
    return Rate(count / wall, 1000 * spent / count)


def cpu_seconds() -> float:
    """Of this process and of its children that live; what a child has spent is in fields 14 and 15 (proc(5))."""
    own: float = time.process_time()
    tick = os.sysconf("SC_CLK_TCK")
    for child in multiprocessing.active_children():
        stat = Path(f"/proc/{child.pid}/stat")
        if stat.exists():  # elsewhere than on Linux the workers' time is not told
            fields = stat.read_text().rpartition(")")[2].split()
            own += (int(fields[11]) + int(fields[12])) / tick
    return own


def stage_seconds(dataset: PairDataset, batch: int, seconds: float) -> dict[str, float]:
    """Processor seconds a pair of every stage, in one process: the steps of `PairDataset.batch`, one by one.

    Not by the clock, which also counts what other processes do with this processor.
    """
    spent = dict.fromkeys(STAGES, 0.0)
    landing: list[torch.Tensor] = []

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        began = time.process_time()
        yield
        spent[stage] += time.process_time() - began

    whole = dataset.order.crops.per_image > 1  # pictures are decoded, for several crops
    dataset.order.samples(range(batch))  # laid out once for a thousand draws
    start = 0
    began = time.perf_counter()
    while not start or time.perf_counter() - began < seconds:
        draws = range(start, start + batch)
        with timed("noise"):
            generators = draw_generators(dataset.seed, draws)
        with timed("read"):
            samples = dataset.order.samples(draws).tolist()
        clean = torch.empty(batch, 3, dataset.config.crop, dataset.config.crop)
        for there, sample, generator in zip(clean.numpy(), samples, generators, strict=True):
            with timed("read"):
                mapped = dataset.shards.mapped(sample)
                stored = dataset.shards.read(sample) if mapped is None else mapped
            with timed("crop"):
                place = random_place(generator)
            with timed("decode"):
                if isinstance(stored, np.ndarray):
                    pixels = stored
                elif whole:
                    pixels = decode(stored.data, stored).pixels
                else:
                    pixels = decode_around(stored.data, stored, dataset.config.crop, place)
            with timed("crop"):
                to_unit(view_at(pixels, dataset.config.crop, dataset.config.flips, place), there)
        with timed("noise"):
            source, target = two_views(clean, dataset.corruption, generators)
        with timed("collate"):
            pair = dataset.pair(source, target)
        landing = landing or [torch.empty_like(part) for part in pair]
        with timed("copy"):
            for there, part in zip(landing, pair, strict=True):
                there.copy_(part)
        start += batch
    return {stage: seconds / start for stage, seconds in spent.items()}


def told(stages: dict[str, float], rates: dict[int, Rate]) -> str:
    """Two small tables, and the bound of this set on these processors."""
    total, cores = sum(stages.values()), len(os.sched_getaffinity(0))
    by = "the compiled core" if core else "numpy, as the package was installed without a C compiler"
    lines = [f"one pair, in one process, on the processor; normal noise and crops by {by}"]
    lines += [f"  {stage:12}{seconds * 1e6:10.1f} us  {seconds / total:6.1%}" for stage, seconds in stages.items()]
    lines.append("loader            pairs/s   CPU seconds per 1,000 pairs")
    lines += [f"  {n} workers {rate.pairs_per_s:14.1f} {rate.cpu_s_per_1000:14.3f}" for n, rate in rates.items()]
    best = cores / (total - stages["copy"])
    clean = cores / sum(stages[stage] for stage in ("read", "decode", "crop"))
    lines.append(f"at best on {cores} core(s), if they did nothing else: {best:.0f} pairs/s; {clean:.0f} without noise")
    return "\n".join(lines)
