"""The shards of a set as files: opened, read and mapped by number."""

import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

from pipeline.descriptors import OPEN_FILES, Descriptors, open_path
from pipeline.errors import BadInput
from pipeline.index import REMAKE, load_index


class ShardFiles:
    """Those of a set in a folder here. Raises BadInput where there is no finished set."""

    keeps = True
    """Whether files stay open and mapped, the OPEN_FILES used last, for those who come back to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = load_index(folder)
        self.address = str(folder)
        """As the user gave it, for messages."""
        self.origin = str(folder.resolve())
        """The same, whatever folder one is in."""
        self._forget()

    def _forget(self) -> None:
        self._descriptors = Descriptors()
        self._maps: OrderedDict[int, memoryview] = OrderedDict()

    def path(self, number: int) -> Path:
        return self.folder / self.index.shards[number].name

    def check(self) -> None:
        """Raise BadInput where a shard is missing or has another size than the index says."""
        for number, entry in enumerate(self.index.shards):
            path = self.path(number)
            if not path.is_file():
                raise missing_shard(path)
            check_size(path, path.stat().st_size, entry.bytes)

    def open(self, number: int) -> int:
        """A descriptor of a shard, for the caller to close. Raises BadInput where it is missing."""
        try:
            return open_path(self.path(number))
        except FileNotFoundError as error:
            raise missing_shard(self.path(number)) from error

    def pread(self, number: int, size: int, start: int) -> bytes:
        """As os.pread, of a shard."""
        if self.keeps:
            return os.pread(self._descriptors.get(number, self.open), size, start)
        descriptor = self.open(number)
        try:
            return os.pread(descriptor, size, start)
        finally:
            os.close(descriptor)

    def map(self, number: int) -> memoryview:
        """A shard as memory. Raises BadInput where it is missing or has another size than the index says."""
        found = self._maps.get(number)
        if found is not None:
            self._maps.move_to_end(number)
            return found
        descriptor = self.open(number)
        try:  # to touch a map beyond the end of its file would kill the process
            check_size(self.path(number), os.fstat(descriptor).st_size, self.index.shards[number].bytes)
            mapped = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)
        if self.keeps:
            if len(self._maps) >= OPEN_FILES:
                self._maps.popitem(last=False)  # unmapped once the last view of it is gone
            self._maps[number] = mapped
        return mapped

    def close(self) -> None:
        self._maps.clear()
        self._descriptors.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_descriptors", "_maps")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()


def shard_files(of: Path | ShardFiles) -> ShardFiles:
    return of if isinstance(of, ShardFiles) else ShardFiles(of)


def check_size(path: Path, size: int, expected: int) -> None:
    if size != expected:
        raise BadInput("a shard of the wrong size", path, f"{size:,} bytes", f"{expected:,} bytes", REMAKE)


def missing_shard(path: Path) -> BadInput:
    return BadInput("a shard is missing", path, "no such file", "every shard that index.json lists", REMAKE)
