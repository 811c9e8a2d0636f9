"""Which picture goes into which shard: decided once, from the sources, the options and a seed alone.

A plan is three numbers a picture and a few a shard: 1.28 million pictures take some 150 MB with their names.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.randomness import key, permute
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import SourceFile, Sources

CHUNK = 1 << 20  # positions permuted at a time, to bound the temporaries of a plan for a hundred million
MEASURED = 32  # pictures at least whose levels are counted where decoding is not needed; one in 256 of a large set


@dataclass(frozen=True)
class Job:
    """Everything that one shard is made of."""

    name: str
    first_key: int
    """Number of its first sample in the whole set; keys are these numbers."""
    files: list[SourceFile]
    measure_every: int = 1
    """Pictures whose number this divides are decoded and counted in the statistics, needed or not."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """What decides a plan, besides the sources."""

    shard_mb: float = 128.0
    """Megabytes of source files at which a shard is full; so both storages cut a set at the same pictures."""
    seed: int = 0
    split: str = ""
    """Which part of a split this set is, such as "val of val=0.05 by file"; nothing where all are taken."""

    def __post_init__(self) -> None:
        if not self.shard_mb > 0:
            raise BadInput("--shard-mb is too small", "the command line", str(self.shard_mb), "more than 0")


@dataclass(frozen=True)
class Plan:
    """The pictures in the set's order, cut into shards."""

    sources: Sources
    order: NDArray[np.int64]
    """Positions in `sources`, in the set's order."""
    starts: NDArray[np.int64]
    """Where in the order each shard begins, with the end appended."""
    config: PlanConfig
    storage: StorageConfig
    left_out: list[LeftOut] = field(default_factory=list)
    """What was known not to be in the set before anything was read: duplicates, unsafe members."""

    @property
    def shards(self) -> int:
        return len(self.starts) - 1

    def shard_name(self, number: int) -> str:
        return f"shard-{number:06d}.tar"

    def job(self, number: int) -> Job:
        start, end = int(self.starts[number]), int(self.starts[number + 1])
        files = [self.sources[int(position)] for position in self.order[start:end]]
        every = max(1, min(256, len(self.order) // MEASURED))
        return Job(self.shard_name(number), start, files, every)

    def options(self) -> dict[str, Any]:
        """What the set was made with, for index.json and for recognising one's own unfinished work."""
        return {
            **asdict(self.storage),
            **asdict(self.config),
            "sources": len(self.order),
            "plan_sha256": self.sha256,
        }

    @cached_property
    def sha256(self) -> str:
        """Changes with any source's name or size, with the order, with the cuts and with every option."""
        digest = hashlib.sha256(json.dumps([asdict(self.storage), asdict(self.config)]).encode())
        for column in self.sources.columns():
            digest.update(column)
        digest.update(self.order.data)
        digest.update(self.starts.data)
        return digest.hexdigest()


def make_plan(
    sources: Sources,
    chosen: NDArray[np.int64],
    config: PlanConfig,
    storage: StorageConfig,
    left_out: list[LeftOut],
) -> Plan:
    """Shuffle the chosen pictures with a key and fill shards to the configured size each."""
    order, starts = lay_out(np.frombuffer(sources.sizes, np.uint64), chosen, config)
    return Plan(sources, order, starts, config, storage, left_out)


def lay_out(
    sizes: NDArray[np.uint64], chosen: NDArray[np.int64], config: PlanConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The chosen positions in a keyed order, and where in it each shard begins, with the end appended."""
    order = np.empty(len(chosen), np.int64)
    permutation_key = key(config.seed)
    for start in range(0, len(chosen), CHUNK):
        positions = np.arange(start, min(start + CHUNK, len(chosen)))
        order[positions] = chosen[permute(positions, len(chosen), permutation_key)]
    filled = sizes.view(np.int64)[order]
    np.cumsum(filled, out=filled)
    starts, shard_bytes = [0], int(config.shard_mb * 1e6)
    while starts[-1] < len(order):
        start = starts[-1]
        before = int(filled[start - 1]) if start else 0
        starts.append(max(start + 1, int(np.searchsorted(filled, before + shard_bytes, side="right"))))
    return order, np.array(starts)
