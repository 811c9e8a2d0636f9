"""Batches of pairs from any draw on, made by worker processes ahead of time; the wait for them is measured."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd

import torch

from pipeline.crops import LANES, Crops
from pipeline.errors import BadInput
from pipeline.inject import CleanCrops, Inject
from pipeline.pairs import AnyPair, PairDataset
from pipeline.prefetch import Prefetch
from pipeline.remote.cache import ShardCache
from pipeline.remote.look_ahead import LookAhead
from pipeline.render_pairs import RenderPairDataset
from pipeline.rendering.on_demand import RenderedSet
from pipeline.shot_pairs import ShotPairs
from pipeline.workers import Make, Workers

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
    """Shards among which samples are shuffled, in each lane; 0 shuffles over the whole set, or all of a lane."""
    lanes: int = 1
    """Streams into which each epoch's line of shards is cut. Ranks share them out, so that a node reads its part of a
    remote set and not all of it: 64, or another number that the ranks divide; a multiple or divisor of train.batch."""
    crops_per_image: int = 1
    """Crops of a picture at each visit, which is decoded once for all of them."""
    crops_spread: int = 512
    """Pictures among which their crops are mixed, so that no batch holds two of one: a multiple of 128."""

    inject: Inject = "worker"
    """Who draws noise: worker, or the device of the network over whole batches, by a generator of its own, hence other
    noise; text, mri and limited captures stay in workers."""

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("prefetch", 1), ("window", 0), ("lanes", 1), ("crops_per_image", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"loader.{name} is {getattr(self, name)}; wanted at least {least}")
        _ = self.crops  # which refuses what it cannot do
        if self.crops_per_image > 1 and LANES % self.lanes:
            wanted = f"a divisor of {LANES}, as with several crops a picture"
            raise ValueError(f"loader.lanes is {self.lanes}; wanted {wanted}")

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
    """Ranks share out a batch by its draws' numbers modulo so many: rank 0 makes the first lanes, and so on."""
    machine: Sequence[int] = ()
    """The ranks of this machine, which keep remote shards together; empty: this one alone."""

    def __post_init__(self) -> None:
        if self.global_batch % self.lanes and self.lanes % self.global_batch:
            raise BadInput(
                "the global batch and the lanes do not fit",
                where="loader.lanes",
                got=f"{self.lanes} lanes, train.batch {self.global_batch}",
                wanted="one a multiple of the other, so that a rank's draws are always of the same lanes",
                todo=f"set loader.lanes to {gcd(self.lanes, self.global_batch)}, or train.batch to {self.lanes}",
            )
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
        """This rank's draws of the global batch that begins at draw `start`: its slice of them by lanes."""
        whole: Sequence[int] = range(start, start + self.global_batch)
        if self.lanes > 1:
            whole = sorted(whole, key=lambda draw: draw % self.lanes)
        mine = whole[self.rank * self.size : (self.rank + 1) * self.size]
        return sorted(mine) if self.lanes > 1 else mine

    @property
    def lanes_here(self) -> list[int]:
        """The lanes that this machine's ranks make."""
        ranks = [replace(self, rank=rank) for rank in self.machine or [self.rank]]
        starts = range(0, max(self.lanes, self.global_batch), self.global_batch)  # as it goes on for ever
        return sorted({draw % self.lanes for rank in ranks for start in starts for draw in rank.draws(start)})


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
    share = replace(share, lanes=dataset.order.lanes)
    make: Make = dataset.make
    if not isinstance(dataset.shards, RenderedSet) and isinstance(dataset.shards.files, ShardCache):
        make = LookAhead(make, dataset.order, dataset.shards.files, share.lanes_here, forks=config.workers > 0)
    if share.lanes == 1:
        share = replace(share, lanes=config.crops.lanes(share.global_batch))
    draws = draw_batches(share, start)
    workers: Workers | None = None
    if config.workers:
        lanes = LANES if config.crops_per_image > 1 else 1
        pin = device.type == "cuda"
        workers = Workers(make, draws, config.workers, config.prefetch, lanes, pin)
        end_renderer(dataset)  # which made the example; workers have renderers of their own

    def take() -> AnyPair | CleanCrops:
        batch = next(workers) if workers else make(next(draws), ())
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
