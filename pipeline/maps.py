"""Shards mapped into memory, the ones used last."""

import mmap
import os
from collections import OrderedDict
from pathlib import Path

from pipeline.descriptors import OPEN_FILES
from pipeline.errors import BadInput
from pipeline.index import REMAKE, Index
from pipeline.shard_cache import ShardCache


class Maps:
    """The shards of a set by number, as memory; at most OPEN_FILES of them at a time."""

    def __init__(self, folder: Path, index: Index, cache: ShardCache | None = None) -> None:
        self._folder = folder
        self._shards = index.shards
        self._cache = cache
        self._maps: OrderedDict[int, memoryview] = OrderedDict()
        self._inodes: dict[int, int] = {}

    def get(self, number: int) -> memoryview:
        """Raises BadInput where the shard is missing or has another size than the index says."""
        if number not in self._maps:
            if len(self._maps) >= OPEN_FILES:
                self._maps.popitem(last=False)  # unmapped once the last view of it is gone
            if self._cache:
                self._forget_deleted()
                self._cache.opened(number, lambda path: self._map(number, path))
            else:
                path = self._folder / self._shards[number].name
                check_size(path, self._shards[number].bytes)  # again: the kernel kills who touches what is not there
                self._map(number, path)
        self._maps.move_to_end(number)
        return self._maps[number]

    def _map(self, number: int, path: Path) -> None:
        with open(path, "rb") as file:
            self._maps[number] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._inodes[number] = os.fstat(file.fileno()).st_ino

    def _forget_deleted(self) -> None:
        """Let go of what the cache has deleted, which takes room for as long as it is mapped."""
        for number in list(self._maps):
            path = self._folder / self._shards[number].name
            if not path.exists() or path.stat().st_ino != self._inodes[number]:
                del self._maps[number]

    def close(self) -> None:
        self._maps.clear()


def check_sizes(folder: Path, index: Index) -> None:
    for shard in index.shards:
        check_size(folder / shard.name, shard.bytes)


def check_size(path: Path, expected: int) -> None:
    """Raise BadInput where a shard is missing or has another size than the index says."""
    if not path.is_file():
        raise missing_shard(path)
    size = path.stat().st_size
    if size != expected:
        raise BadInput("a shard of the wrong size", path, f"{size:,} bytes", f"{expected:,} bytes", REMAKE)


def missing_shard(path: Path) -> BadInput:
    return BadInput("a shard is missing", path, "no such file", "every shard that index.json lists", REMAKE)
