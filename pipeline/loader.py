"""Batches of pairs from any draw on, made by worker processes ahead of time; the wait for them is measured."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from pipeline.crops import LANES, Crops
from pipeline.errors import BadInput
from pipeline.inject import CleanCrops, Inject
from pipeline.look_ahead import LookAhead
from pipeline.pairs import AnyPair, PairDataset
from pipeline.prefetch import Prefetch
from pipeline.render_pairs import RenderPairDataset
from pipeline.rendering.on_demand import RenderedSet
from pipeline.shard_cache import ShardCache
from pipeline.shot_pairs import ShotPairs
from pipeline.workers import Workers

CPU = torch.device("cpu")

AnyDataset = PairDataset | ShotPairs | RenderPairDataset


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Who makes the pairs, and in which order samples are visited. Workers change nothing but the speed."""

    workers: int = 2
    """Processes a rank that read, decode and add noise; 0 makes pairs in the training process itself."""
    prefetch: int = 4
    """Batches that each worker keeps ready."""
    window: int = 0
    """Shards among which samples are shuffled; 0 shuffles over the whole set."""
    crops_per_image: int = 1
    """Crops of a picture at each visit, which is decoded once for all of them."""
    crops_spread: int = 512
    """Pictures among which their crops are mixed, so that no batch holds two of one: a multiple of 128."""

    inject: Inject = "worker"
    """Who draws noise: worker, or the device of the network over whole batches, by a generator of its own, hence other
    noise; text, mri and limited captures stay in workers."""

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("prefetch", 1), ("window", 0), ("crops_per_image", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"loader.{name} is {getattr(self, name)}; wanted at least {least}")
        _ = self.crops  # which refuses what it cannot do

    @property
    def crops(self) -> Crops:
        return Crops(self.crops_per_image, self.crops_spread)


@dataclass(frozen=True)
class BatchShare:
    """This rank's part of every global batch: step b consumes draws [b * global_batch, (b + 1) * global_batch)."""

    global_batch: int
    rank: int
    world: int
    lanes: int = 1
    """Above 1: ranks share out draws by their number modulo so many, as far as that divides by the ranks."""

    def __post_init__(self) -> None:
        if self.global_batch % self.world:
            near = max(self.world, round(self.global_batch / self.world) * self.world)
            raise BadInput(
                "the global batch does not divide over the ranks",
                where="train.batch",
                got=f"{self.global_batch} draws over {self.world} ranks",
                wanted="the same number on every rank",
                todo=f"set train.batch to a multiple of {self.world}, such as {near}",
            )

    @property
    def size(self) -> int:
        return self.global_batch // self.world

    def draws(self, start: int) -> Sequence[int]:
        """This rank's draws of the global batch that begins at draw `start`."""
        if self.lanes > 1 and self.lanes % self.world == 0:
            whole = range(start, start + self.global_batch)
            return [draw for draw in whole if draw % self.lanes * self.world // self.lanes == self.rank]
        first = start + self.rank * self.size
        return range(first, first + self.size)


def draw_batches(share: BatchShare, start: int) -> Iterator[Sequence[int]]:
    """This rank's draws, batch after batch, for ever. The whole state of the loader is where it starts."""
    while True:
        yield share.draws(start)
        start += share.global_batch


def refuse_siblings(dataset: AnyDataset, share: BatchShare, config: LoaderConfig) -> None:
    """Raise BadInput where a batch would hold crops of one picture, or where nothing is decoded."""
    if config.crops_per_image > 1 and not isinstance(dataset, PairDataset):
        where, got = "loader.crops_per_image", f"{config.crops_per_image} crops of a set that is stored as arrays"
        raise BadInput("nothing is decoded here", where, got, "1, as nothing is saved", "loader.crops_per_image=1")
    if share.global_batch > config.crops.nearest:
        least = -(-share.global_batch // 64) * 128
        wanted = f"at most {config.crops.nearest}, the least number of draws from one crop of a picture to the next"
        todo = f"set loader.crops_spread to {least}"
        raise BadInput(
            "a batch would hold several crops of a picture", "train.batch", str(share.global_batch), wanted, todo
        )


def load_pairs(
    dataset: AnyDataset,
    share: BatchShare,
    config: LoaderConfig,
    *,
    start: int,
    device: torch.device = CPU,
) -> Generator[tuple[AnyPair, float], None, None]:
    """Yield (batch, seconds waited for it) from draw `start` on, for ever; on `device` where that is a GPU.

    Raises BadInput where a sample cannot be read, naming the shard and the sample, and where several crops a picture
    are asked for and cannot be had.
    """
    refuse_siblings(dataset, share, config)
    share = replace(share, lanes=config.crops.lanes(share.global_batch))
    draws = draw_batches(share, start)
    make: Callable[[Sequence[int]], Any] = dataset.__getitem__
    if not isinstance(dataset.shards, RenderedSet) and isinstance(dataset.shards.files, ShardCache):
        make = LookAhead(make, dataset.order, dataset.shards.files, forks=config.workers > 0)
    workers: Workers | None = None
    if config.workers:
        lanes = LANES if config.crops_per_image > 1 else 1
        pin = device.type == "cuda"
        workers = Workers(make, draws, config.workers, config.prefetch, lanes, pin)
        end_renderer(dataset)  # which made the example; workers have renderers of their own

    def take() -> AnyPair | CleanCrops:
        batch = next(workers) if workers else make(next(draws))
        if isinstance(batch, BadInput):
            raise batch
        return batch

    batches = Prefetch(take, workers.ready if workers else lambda: False, device)
    try:
        while True:
            asked = time.perf_counter()
            batch = next(batches) if device.type == "cuda" else take()
            waited = time.perf_counter() - asked
            if isinstance(batch, CleanCrops):
                assert isinstance(dataset, PairDataset)
                batch = dataset.noisy(CleanCrops(*(part.to(device) for part in batch)))
            yield batch, waited
            del batch  # a slot that nobody has can be filled again
    finally:
        if workers:
            workers.close()
        end_renderer(dataset)


def end_renderer(dataset: AnyDataset) -> None:
    """End that of this process, if it has one."""
    if isinstance(dataset.shards, RenderedSet):
        dataset.shards.close()
