"""A finished shard set, opened for reading: any sample is one pread away."""

import hashlib
import io
import os
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.index import REMAKE, SAMPLES, idx_name, load_index, load_samples
from pipeline.picture import decode

BLOCK = 512
OPEN_FILES = 128  # a process may hold 1,024 descriptors by default, and a set may have more shards


@dataclass(frozen=True)
class Stored:
    """A stored picture: its bytes, what they are, and where they were, for messages."""

    data: bytes
    extension: str
    where: str


class ShardSet:
    """Random access to the pictures of a set.

    Opening checks that every shard is there with its size; reading checks each picture's CRC-32, so that no
    damaged byte passes into training unseen. Raises BadInput naming the shard and the sample.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = load_index(folder)
        self.table = load_samples(folder, self.index.samples)
        for shard in self.index.shards:
            check_size(folder / shard.name, shard.bytes)
        self._descriptors: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return self.index.samples

    @property
    def samples_per_shard(self) -> list[int]:
        return [shard.samples for shard in self.index.shards]

    def read(self, sample: int) -> Stored:
        """The stored bytes of a sample, with the tar header before them, which holds its name."""
        row = self.table[sample]
        start, size = int(row["offset"]) - BLOCK, BLOCK + int(row["size"])
        shard = self.folder / self.index.shards[int(row["shard"])].name
        block = os.pread(self._descriptor(int(row["shard"])), size, start)
        name = block[:100].rstrip(b"\0").decode("ascii", "replace")
        data = block[BLOCK:]
        if len(block) != size or zlib.crc32(data) != int(row["crc32"]):
            raise BadInput(
                "a damaged sample",
                where=f"{shard}, sample {sample} ({name}) at byte {int(row['offset'])}",
                got=f"CRC-32 {zlib.crc32(data):08x} of {len(data)} bytes",
                wanted=f"{int(row['crc32']):08x} of {int(row['size'])}, as written",
                todo="find all damage with `n2n inspect --verify`; restore the shard, or make the set again",
            )
        return Stored(data, name.rpartition(".")[2], f"{shard}, sample {sample} ({name})")

    def pixels(self, sample: int) -> NDArray[Any]:
        """The decoded picture of a sample, (C, H, W) in 8 or 16 bits."""
        stored = self.read(sample)
        if stored.extension == "npy":
            pixels: NDArray[Any] = np.load(io.BytesIO(stored.data))
            return pixels
        return decode(stored.data, stored.where).pixels

    def _descriptor(self, shard: int) -> int:
        if shard in self._descriptors:
            self._descriptors.move_to_end(shard)
            return self._descriptors[shard]
        if len(self._descriptors) >= OPEN_FILES:
            os.close(self._descriptors.popitem(last=False)[1])
        path = self.folder / self.index.shards[shard].name
        try:
            self._descriptors[shard] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise missing_shard(path) from error
        return self._descriptors[shard]

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]  # another process maps the table and opens its own files

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_descriptors"):
            self.close()


def check_size(path: Path, expected: int) -> None:
    """Raise BadInput where a shard is missing or has another size than the index says."""
    if not path.is_file():
        raise missing_shard(path)
    size = path.stat().st_size
    if size != expected:
        raise BadInput("a shard of the wrong size", path, f"{size:,} bytes", f"{expected:,} bytes", REMAKE)


def missing_shard(path: Path) -> BadInput:
    return BadInput("a shard is missing", path, "no such file", "every shard that index.json lists", REMAKE)


def verify(folder: Path) -> list[str]:
    """Recompute every checksum of a set: one line for each file that is missing or is not as it was written."""
    index = load_index(folder)
    faults = []
    expected = [(SAMPLES, index.samples_sha256)]
    for shard in index.shards:
        expected += [(shard.name, shard.sha256), (idx_name(shard.name), shard.idx_sha256)]
    for name, sha256 in expected:
        try:
            with open(folder / name, "rb") as file:
                got = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            faults.append(f"{folder / name}: missing")
            continue
        if got != sha256:
            faults.append(f"{folder / name}: SHA-256 is {got}, the index says {sha256}")
    return faults
