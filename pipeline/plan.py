"""Which picture goes into which shard: decided once, from the sources, the options and a seed alone."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.randomness import key, permute
from pipeline.sources import SourceFile


@dataclass(frozen=True)
class Job:
    """Everything that one shard is made of."""

    name: str
    first_key: int
    """Number of its first sample in the whole set; keys are these numbers."""
    files: list[SourceFile]


@dataclass(frozen=True)
class Plan:
    """The pictures in the set's order, cut into shards."""

    files: list[SourceFile]
    shards: list[range]
    """Positions in `files`, shard by shard."""
    shard_bytes: int
    seed: int

    def job(self, number: int) -> Job:
        positions = self.shards[number]
        return Job(f"shard-{number:06d}.tar", positions.start, [self.files[position] for position in positions])

    def options(self) -> dict[str, Any]:
        """What the set was made with, for index.json and for recognising one's own unfinished work."""
        return {
            "store": "source",
            "shard_mb": self.shard_bytes // 1_000_000,
            "seed": self.seed,
            "sources": len(self.files),
            "plan_sha256": self.sha256,
        }

    @cached_property
    def sha256(self) -> str:
        """Changes with any source's name or size, with the order and with the cuts."""
        digest = hashlib.sha256(repr(self.shards).encode())
        for file in self.files:
            digest.update(f"{file.name}\0{file.size}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def make_plan(files: list[SourceFile], shard_bytes: int, seed: int) -> Plan:
    """Shuffle the pictures with a key and fill shards to `shard_bytes` each."""
    order = permute(np.arange(len(files)), len(files), key(seed))
    shuffled = [files[position] for position in order]
    shards, start, filled = [], 0, 0
    for position, file in enumerate(shuffled):
        if position > start and filled + file.size > shard_bytes:
            shards.append(range(start, position))
            start, filled = position, 0
        filled += file.size
    shards.append(range(start, len(shuffled)))
    return Plan(shuffled, shards, shard_bytes, seed)
