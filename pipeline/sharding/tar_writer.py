"""A plain tar, written in one pass: each member's place is known as it is written, and all is hashed meanwhile.

Not webdataset.TarWriter: it goes through Python's tarfile at several times the cost of a member, gives no offsets,
and its times would make every run's bytes differ. Any tar, webdataset, wids and DALI read the result.
"""

import os
from collections import deque
from types import TracebackType
from typing import BinaryIO

from pipeline.sharding.hasher import ROOM, Hasher, HasherAside, HasherHere, Piece

BLOCK = 512  # a member is one header block and its bytes, padded to blocks
RECORD = 20 * BLOCK  # archives end on a multiple of it, as tar writes them
ABOUT_ROOM = 16 * BLOCK  # kept free behind a picture in its piece, for its KEY.json
LARGEST = ROOM - (1 << 20)  # bytes of a picture that fits a piece with its KEY.json, whatever that says

# ustar (POSIX.1-1988): name, mode, owner and group, size, time, checksum, type, magic; no time and no owner, so
# that equal members are equal bytes.
_BEFORE_SIZE = b"0000444\0" + b"0000000\0" * 2
_AFTER_SIZE = b"\0" + b"00000000000\0" + b" " * 8 + b"0" + bytes(100) + b"ustar\00000" + bytes(247)
_ZEROS = bytes(2 * RECORD)
_CONSTANT_SUM = sum(_BEFORE_SIZE) + sum(_AFTER_SIZE)


def tar_header(name: str, size: int) -> bytes:
    """The header block of a file. `name` is ASCII of at most 100 characters, `size` below 8 GiB."""
    name_bytes, size_digits = name.encode("ascii"), b"%011o" % size
    if len(name_bytes) > 100 or len(size_digits) > 11:
        raise ValueError(f"{name} of {size} bytes does not fit a ustar header")
    checksum = _CONSTANT_SUM + sum(name_bytes) + sum(size_digits)
    head = name_bytes.ljust(100, b"\0") + _BEFORE_SIZE + size_digits
    return head + _AFTER_SIZE[:13] + b"%06o\0 " % checksum + _AFTER_SIZE[21:]


def padded(size: int) -> int:
    """Bytes that a member's data takes in an archive."""
    return size + -size % BLOCK


class TarWriter:
    """Writes members to an open file, by pieces of some megabytes.

    A picture can be read from its file to where it will lie (`place`), which saves copying it, and have its SHA-256
    filled in later (`digest`). `aside` has the hashing done by another process, for which a core should be free.
    """

    def __init__(self, file: BinaryIO, *, aside: bool = False) -> None:
        self.size = 0
        self.checksums: list[int] = []
        """The CRC-32 of each member's header and bytes, in the order of `add`; of all of them after `finish`."""
        self._file = file
        self._hasher: Hasher = HasherAside() if aside else HasherHere()
        self._asked: deque[Piece] = deque()
        self._begin(0)

    def _begin(self, slot: int) -> None:
        self._piece = Piece(slot, 0, [], [])
        self._memory = self._hasher.slots[slot]
        self._used = self._kept = 0  # so far, and up to where members are to lie in this piece
        self._placed = -1  # where the data lie that were read to their place

    def place(self, size: int) -> memoryview:
        """Memory of at most LARGEST bytes where the data of the next member will lie; `add` does not copy it."""
        self.together(BLOCK + padded(size) + ABOUT_ROOM)
        self._placed = start = self._used + BLOCK
        return self._memory[start : start + size]

    def together(self, size: int) -> None:
        """Have the next members of so many bytes, with headers and padding, lie in one piece, if that has the ROOM."""
        if self._used >= self._hasher.full or self._used + size > ROOM:
            self._flush()
        self._kept = self._used + size

    def add(self, header: bytes, data: bytes | memoryview) -> int:
        """Append a member with the header that `tar_header` made for it; the offset of its data."""
        offset, size = self.size + BLOCK, padded(len(data))
        if self._used >= self._kept:
            self.together(BLOCK + size)
        start = self._used + BLOCK
        end = start + len(data)
        if end > ROOM:
            self._add_parts(header, ends=False)
            self._add_parts(data, ends=True)
        else:
            self._memory[self._used : start] = header
            if not (self._placed == start and isinstance(data, memoryview) and data.obj is self._memory.obj):
                self._memory[start:end] = data
            self._piece.members.append((self._used, end, True))
            self._used = end
        self._add_zeros(size - len(data))
        self.size = offset + size
        return offset

    def _add_parts(self, data: bytes | memoryview, ends: bool) -> None:
        """A part of a member that does not fit a piece, up to its end or not, in as many pieces as it takes."""
        rest = memoryview(data)
        while rest:
            if self._used == ROOM:
                self._flush()
            part, rest = rest[: ROOM - self._used], rest[ROOM - self._used :]
            end = self._used + len(part)
            self._memory[self._used : end] = part
            self._piece.members.append((self._used, end, ends and not rest))
            self._used = end

    def _add_zeros(self, count: int) -> None:
        self._memory[self._used : self._used + count] = _ZEROS[:count]
        self._used += count

    def digest(self, offset: int, size: int, place: int) -> None:
        """Have the SHA-256 of bytes at `offset` in the archive written at `place`, as hexadecimal digits.

        Both within members that were added after `together` with the size of all of them.
        """
        before = self.size - self._used
        self._piece.digests.append((offset - before, offset - before + size, place - before))

    def _flush(self) -> None:
        piece = self._piece._replace(used=self._used)
        self._hasher.ask(piece)
        self._asked.append(piece)
        slots = len(self._hasher.slots)
        self._write(behind=slots - 1)
        self._begin((piece.slot + 1) % slots)

    def _write(self, behind: int) -> None:
        """Write what has been hashed, until at most so many pieces have not. Raises OSError as write_all does."""
        while len(self._asked) > behind:
            self.checksums += self._hasher.answer()
            piece = self._asked.popleft()
            write_all(self._file.fileno(), self._hasher.slots[piece.slot][: piece.used])

    def finish(self) -> str:
        """Write the end mark; the SHA-256 of the whole archive."""
        end = 2 * BLOCK + -(self.size + 2 * BLOCK) % RECORD
        self.together(end)
        self._add_zeros(end)
        self.size += end
        self._flush()
        self._write(behind=0)
        return self._hasher.finish()

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hasher.close()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Raises OSError where the disk is full."""
    rest = memoryview(data)
    while rest:  # a write of a part is what a disk that fills up answers first
        rest = rest[os.write(descriptor, rest) :]
