"""Batches of pairs from any draw on, made by worker processes ahead of time; the wait for them is measured."""

import atexit
import multiprocessing
import signal
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from torch.utils.data import DataLoader, Sampler

from pipeline.errors import BadInput
from pipeline.pairs import AnyPair, PairDataset
from pipeline.render_pairs import RenderPairDataset
from pipeline.shot_pairs import ShotPairs


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Who makes the pairs, and in which order samples are visited. Workers change nothing but the speed."""

    workers: int = 2
    """Processes a rank that read, decode and add noise; 0 makes pairs in the training process itself."""
    prefetch: int = 4
    """Batches that each worker keeps ready."""
    window: int = 0
    """Shards among which samples are shuffled; 0 shuffles over the whole set."""

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("prefetch", 1), ("window", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"loader.{name} is {getattr(self, name)}; wanted at least {least}")


@dataclass(frozen=True)
class BatchShare:
    """This rank's part of every global batch: step b consumes draws [b * global_batch, (b + 1) * global_batch)."""

    global_batch: int
    rank: int
    world: int

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

    def draws(self, start: int) -> range:
        """This rank's draws of the global batch that begins at draw `start`."""
        first = start + self.rank * self.size
        return range(first, first + self.size)


class DrawBatches(Sampler[range]):
    """This rank's draws, batch after batch, for ever. The whole state of the loader is where it starts."""

    def __init__(self, share: BatchShare, start: int) -> None:
        self.share = share
        self.start = start

    def __iter__(self) -> Iterator[range]:
        start = self.start
        while True:
            yield self.share.draws(start)
            start += self.share.global_batch


def leave_signals_to_parent(_worker: int) -> None:
    """In a worker: a scheduler's signal to all processes of a job is for the one that trains, who ends this one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def end_workers(workers: Iterable[BaseProcess]) -> None:
    """At the end of the process: multiprocessing would ask them by SIGTERM, to which they are deaf, and wait."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own handler takes their end for a failure
    for worker in workers:
        worker.kill()


def load_pairs(
    dataset: PairDataset | ShotPairs | RenderPairDataset,
    share: BatchShare,
    config: LoaderConfig,
    *,
    start: int,
    pin_memory: bool = False,
) -> Generator[tuple[AnyPair, float], None, None]:
    """Yield (batch, seconds waited for it) from draw `start` on, for ever.

    Raises BadInput where a sample cannot be read, naming the shard and the sample.
    """
    loader = DataLoader(
        dataset,
        batch_size=None,  # the data set makes whole batches
        sampler=DrawBatches(share, start),
        num_workers=config.workers,
        prefetch_factor=config.prefetch if config.workers else None,
        pin_memory=pin_memory,
        worker_init_fn=leave_signals_to_parent,
    )
    before = multiprocessing.active_children()
    batches = iter(loader)  # one iteration without end, so its workers persist for the run
    atexit.register(end_workers, [child for child in multiprocessing.active_children() if child not in before])
    while True:
        asked = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - asked
        if isinstance(batch, BadInput):
            raise batch
        yield batch, waited
