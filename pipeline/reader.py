"""A finished shard set, opened for reading: a sample is one pread away, a part of a decoded one a slice."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.index import REMAKE, SAMPLES, crc32, load_samples, map_table
from pipeline.picture import decode
from pipeline.shard_files import ShardFiles, shard_files

BLOCK = 512
EIGHT_BITS, SIXTEEN_BITS = np.dtype("<u1"), np.dtype("<u2")


@dataclass(frozen=True)
class Stored:
    """A stored picture; as a string, for messages, where it is."""

    data: bytes
    name: str
    """In the tar."""
    sample: int
    shard: Path

    @property
    def extension(self) -> str:
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:  # made only where it is read: it takes as long as reading the bytes
        return f"{self.shard}, sample {self.sample} ({self.name})"


class ShardSet:
    """Random access to the pictures of a set.

    Opening checks the index, the table of samples (a very large one by its size alone) and the size of every shard;
    reading checks each picture's CRC-32 and its row of the table, so that no damaged byte passes into training unseen.
    Raises BadInput naming the shard and the sample.
    """

    def __init__(self, of: Path | ShardFiles) -> None:
        files = shard_files(of)
        if files.index.members_sha256:
            wanted = "a set of single pictures"
            raise BadInput(
                "a set of realisations", files.address, "several pictures a sample", wanted, "set data.kind to match"
            )
        files.check()
        self._open(files, load_samples(files.folder, files.index))

    def _open(self, files: ShardFiles, table: NDArray[np.void]) -> None:
        self.files = files
        self.folder = files.folder
        self.index = files.index
        self.table = table.view(np.ndarray)  # still mapped; a row of a numpy.memmap takes three times as long to get
        self._checked = bytearray(-(-len(table) // 8))  # a bit a sample: its CRC was right when first mapped

    def __len__(self) -> int:
        return self.index.samples

    @property
    def samples_per_shard(self) -> list[int]:
        return [shard.samples for shard in self.index.shards]

    def read(self, sample: int) -> Stored:
        """The stored bytes of a sample, with the tar header before them, which holds its name."""
        offset, size, number, checksum, *_ = self.table[sample].item()
        self._refuse_row(sample, number, offset, size)
        block = self.files.pread(number, BLOCK + size, offset - BLOCK)
        if len(block) != BLOCK + size or crc32(block) != checksum:
            raise self._damaged(sample, block)
        return Stored(block[BLOCK:], _name(block), sample, self.files.path(number))

    def pixels(self, sample: int) -> NDArray[Any]:
        """The decoded picture of a sample, (C, H, W) in 8 or 16 bits, not to be written to."""
        pixels = self.mapped(sample)
        if pixels is None:
            stored = self.read(sample)
            return decode(stored.data, stored).pixels
        return pixels

    def mapped(self, sample: int) -> NDArray[Any] | None:
        """Pixels that are stored decoded, as a view of the mapped file; None of a picture that is to be decoded.

        A crop of them touches its own rows and no others. Each is checked whole the first time that a process
        touches it.
        """
        # As plain numbers in one go: asked for one by one, the fields of a row take longer than a small crop.
        offset, size, number, checksum, height, width, channels, bits, decoded = self.table[sample].item()
        if not decoded:
            return None
        self._refuse_row(sample, number, offset, size)
        shard = self.files.map(number)
        end = offset + size
        if not self._checked[sample >> 3] & 1 << (sample & 7):
            block = shard[offset - BLOCK : end]
            if crc32(block) != checksum:
                raise self._damaged(sample, bytes(block))
            says = (
                f"'{'|u1' if bits == 8 else '<u2'}', 'fortran_order': False, 'shape': ({channels}, {height}, {width})"
            )
            if says.encode() not in bytes(block[BLOCK : BLOCK + 256]):  # the header of the .npy
                raise self._damaged_row(sample)
            self._checked[sample >> 3] |= 1 << (sample & 7)
        kind = EIGHT_BITS if bits == 8 else SIXTEEN_BITS
        count = channels * height * width
        # The pixels are the end of the .npy.
        return np.frombuffer(shard, kind, count, end - count * kind.itemsize).reshape(channels, height, width)

    def shard_path(self, sample: int) -> Path:
        return self.files.path(int(self.table[sample]["shard"]))

    def where(self, sample: int, block: bytes) -> str:
        return f"{self.shard_path(sample)}, sample {sample} ({_name(block)})"

    def _refuse_row(self, sample: int, shard: int, offset: int, size: int) -> None:
        """Raise BadInput where a row points out of the set."""
        if shard >= len(self.index.shards) or not BLOCK <= offset <= self.index.shards[shard].bytes - size:
            raise self._damaged_row(sample)

    def _damaged_row(self, sample: int) -> BadInput:
        where, got = f"{self.folder / SAMPLES}, sample {sample}", str(self.table[sample])
        return BadInput("the sample table is damaged", where, got, "what the shards hold", REMAKE)

    def _damaged(self, sample: int, block: bytes) -> BadInput:
        row = self.table[sample]
        return BadInput(
            "a damaged sample",
            where=f"{self.where(sample, block)} at byte {int(row['offset'])}",
            got=f"CRC-32 {crc32(block):08x} of {len(block)} bytes",
            wanted=f"{int(row['crc32']):08x} of {BLOCK + int(row['size'])}, as written",
            todo="find all damage with `n2n inspect --verify`; restore the shard, or make the set again",
        )

    def __getstate__(self) -> dict[str, object]:
        return {"files": self.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Another process maps the table and opens its own files; what the first one has checked is not checked again.
        files = state["files"]
        self._open(files, map_table(files.folder / SAMPLES))

    def close(self) -> None:
        self.files.close()


def _name(block: bytes) -> str:
    return block[:100].rstrip(b"\0").decode("ascii", "replace")
