"""A finished set of realisations, opened for reading: any window of any buffer is a slice of a mapped file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.index import MEMBERS, REMAKE, SAMPLES, crc32, load_table, map_table
from pipeline.shard_files import ShardFiles, shard_files

BLOCK = 512


class RealisationSet:
    """Random access to the arrays of a set.

    A sample has `realisations(sample)` arrays of each of its buffers and perhaps a reference. Opening checks the
    index, the tables and the size of every shard; a member's CRC-32 is checked when a process first touches it.
    Raises BadInput naming the shard and the sample.
    """

    def __init__(self, of: Path | ShardFiles) -> None:
        files = shard_files(of)
        folder, index = files.folder, files.index
        if not index.members_sha256:
            raise BadInput("a set of single pictures", files.address, "one picture a sample", "a set of realisations")
        files.check()
        samples = load_table(folder / SAMPLES, index.samples_sha256)
        self._open(files, samples, load_table(folder / MEMBERS, index.members_sha256))

    def _open(self, files: ShardFiles, samples: NDArray[np.void], members: NDArray[np.void]) -> None:
        self.files = files
        self.folder = files.folder
        self.index = files.index
        self.table = samples
        self.members = members
        self._checked = bytearray(-(-len(members) // 8))

    def __len__(self) -> int:
        return self.index.samples

    @property
    def samples_per_shard(self) -> list[int]:
        return [shard.samples for shard in self.index.shards]

    def realisations(self, sample: int) -> int:
        return int(self.table[sample]["realisations"])

    def has_reference(self, sample: int) -> bool:
        return bool(self.table[sample]["reference"])

    def size(self, sample: int) -> tuple[int, int]:
        """Height and width of every array of the sample."""
        row = self.table[sample]
        return int(row["height"]), int(row["width"])

    def buffers(self, sample: int) -> list[str]:
        """The names of what there is of each realisation."""
        names = {row["buffer"].decode() for row in self._rows(sample)}
        return sorted(names - {"json", "reference"})

    def pixels(self, sample: int, buffer: str, realisation: int = 0) -> NDArray[Any]:
        """(C, H, W) as stored, not to be written to: a view of the mapped file, so that a slice of it touches its
        own rows alone. The reference is the buffer of that name. Raises BadInput where there is no such array.
        """
        height, width = self.size(sample)
        member = self._find(sample, buffer, realisation)
        row = self.members[member]
        end = int(row["offset"]) + int(row["size"])
        kind = np.dtype(row["dtype"].decode())
        count = int(row["channels"]) * height * width
        # The pixels are the end of the .npy; its header, which says the same as the row, need not be parsed.
        shard = self._checked_shard(sample, member)
        return np.frombuffer(shard, kind, count, end - count * kind.itemsize).reshape(-1, height, width)

    def window(
        self, sample: int, buffer: str, realisation: int, top: int, left: int, height: int, width: int
    ) -> NDArray[Any]:
        """A part of an array, (C, height, width), still as stored."""
        return self.pixels(sample, buffer, realisation)[:, top : top + height, left : left + width]

    def about(self, sample: int) -> dict[str, Any]:
        """What KEY.json says of the sample."""
        member = self._find(sample, "json", 0)
        row = self.members[member]
        start = int(row["offset"])
        document: dict[str, Any] = json.loads(
            bytes(self._checked_shard(sample, member)[start : start + int(row["size"])])
        )
        return document

    def where(self, sample: int) -> str:
        """The shard and the key, for messages."""
        shard = int(self.table[sample]["shard"])
        row = self.members[int(self.table[sample]["first"])]
        start = int(row["offset"]) - BLOCK
        name = bytes(self.files.map(shard)[start : start + 100]).rstrip(b"\0").decode("ascii", "replace")
        return f"{self.files.path(shard)}, sample {sample} ({name.partition('.')[0]})"

    def _rows(self, sample: int) -> NDArray[np.void]:
        row = self.table[sample]
        rows: NDArray[np.void] = self.members[int(row["first"]) : int(row["first"]) + int(row["members"])]
        return rows

    def _find(self, sample: int, buffer: str, realisation: int) -> int:
        rows = self._rows(sample)
        found = np.flatnonzero((rows["buffer"] == buffer.encode()) & (rows["realisation"] == realisation))
        if not len(found):
            names = ", ".join(f"{row['buffer'].decode()}.{row['realisation']}" for row in rows)
            raise BadInput("no such buffer", self.where(sample), f"{buffer}.{realisation}", f"one of {names}")
        return int(self.table[sample]["first"]) + int(found[0])

    def _checked_shard(self, sample: int, member: int) -> memoryview:
        """The mapped shard, after the member's checksum has been compared once."""
        shard = self.files.map(int(self.table[sample]["shard"]))
        if not self._checked[member >> 3] & 1 << (member & 7):
            row = self.members[member]
            start, size = int(row["offset"]) - BLOCK, BLOCK + int(row["size"])
            got = crc32(shard[start : start + size])
            if got != int(row["crc32"]):
                raise BadInput(
                    "a damaged sample",
                    where=f"{self.where(sample)}, {row['buffer'].decode()}.{row['realisation']}",
                    got=f"CRC-32 {got:08x}",
                    wanted=f"{int(row['crc32']):08x}, as written",
                    todo=f"find all damage with `n2n inspect --verify`; {REMAKE}",
                )
            self._checked[member >> 3] |= 1 << (member & 7)
        return shard

    def __getstate__(self) -> dict[str, object]:
        return {"files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state["files"]
        self._open(files, map_table(files.folder / SAMPLES), map_table(files.folder / MEMBERS))

    def close(self) -> None:
        self.files.close()
