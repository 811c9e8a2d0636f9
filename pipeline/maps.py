"""Shards mapped into memory, the ones used last."""

import mmap
from collections import OrderedDict
from pathlib import Path

from pipeline.descriptors import OPEN_FILES
from pipeline.errors import BadInput
from pipeline.index import REMAKE, Index


class Maps:
    """The shards of a set by number, as memory; at most OPEN_FILES of them at a time."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._folder = folder
        self._shards = index.shards
        self._maps: OrderedDict[int, memoryview] = OrderedDict()

    def get(self, number: int) -> memoryview:
        """Raises BadInput where the shard is missing or has another size than the index says."""
        if number not in self._maps:
            if len(self._maps) >= OPEN_FILES:
                self._maps.popitem(last=False)  # unmapped once the last view of it is gone
            entry = self._shards[number]
            path = self._folder / entry.name
            check_size(path, entry.bytes)  # again: to touch a map beyond the end of its file would kill the process
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps[number] = memoryview(mapped)
        self._maps.move_to_end(number)
        return self._maps[number]

    def close(self) -> None:
        self._maps.clear()


def check_size(path: Path, expected: int) -> None:
    """Raise BadInput where a shard is missing or has another size than the index says."""
    if not path.is_file():
        raise missing_shard(path)
    size = path.stat().st_size
    if size != expected:
        raise BadInput("a shard of the wrong size", path, f"{size:,} bytes", f"{expected:,} bytes", REMAKE)


def missing_shard(path: Path) -> BadInput:
    return BadInput("a shard is missing", path, "no such file", "every shard that index.json lists", REMAKE)
