"""A plain tar, written in one pass: each member's place is known as it is written, and all is hashed meanwhile.

Not webdataset.TarWriter: it goes through Python's tarfile at several times the cost of a member, gives no offsets,
and its times would make every run's bytes differ. Any tar, webdataset, wids and DALI read the result.
"""

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO

from pipeline.index import crc32

BLOCK = 512  # a member is one header block and its bytes, padded to blocks
RECORD = 20 * BLOCK  # archives end on a multiple of it, as tar writes them
FLUSH = 1 << 22  # bytes gathered before they are hashed and written: large enough to run beside the reading
BEHIND = 3  # such gatherings that may wait for the hash or the disk

# ustar (POSIX.1-1988): name, mode, owner and group, size, time, checksum, type, magic; no time and no owner, so
# that equal members are equal bytes.
_BEFORE_SIZE = b"0000444\0" + b"0000000\0" * 2
_AFTER_SIZE = b"\0" + b"00000000000\0" + b" " * 8 + b"0" + bytes(100) + b"ustar\00000" + bytes(247)
_ZEROS = bytes(BLOCK)
_CONSTANT_SUM = sum(_BEFORE_SIZE) + sum(_AFTER_SIZE)


def tar_header(name: str, size: int) -> bytes:
    """The header block of a file. `name` is ASCII of at most 100 characters, `size` below 8 GiB."""
    name_bytes, size_digits = name.encode("ascii"), b"%011o" % size
    if len(name_bytes) > 100 or len(size_digits) > 11:
        raise ValueError(f"{name} of {size} bytes does not fit a ustar header")
    checksum = _CONSTANT_SUM + sum(name_bytes) + sum(size_digits)
    head = name_bytes.ljust(100, b"\0") + _BEFORE_SIZE + size_digits
    return head + _AFTER_SIZE[:13] + b"%06o\0 " % checksum + _AFTER_SIZE[21:]


class TarWriter:
    """Writes members to an open file. A thread hashes and another writes what has been gathered, beside the gathering.

    What is gathered is copied into one piece: hashing and writing members one by one would have these threads wait
    for Python's lock at every member, which takes longer.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.size = 0
        self.checksums: list[int] = []
        """The CRC-32 of each member's header and bytes, in the order of `add`; of all of them after `finish`."""
        self._file = file
        self._sha256 = hashlib.sha256()
        self._parts: list[bytes] = []
        self._gathered = 0
        self._members: list[tuple[int, int]] = []  # of what is gathered: from its header to the end of its bytes
        # One thread each, so that both keep the order without waiting for one another.
        self._hashing, self._writing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._running: deque[Future[None]] = deque()

    def add(self, header: bytes, data: bytes) -> int:
        """Append a member with the header that `tar_header` made for it; the offset of its data."""
        offset = self.size + BLOCK
        self._members.append((self._gathered, self._gathered + BLOCK + len(data)))
        self._append(header, data, _ZEROS[: -len(data) % BLOCK])
        return offset

    def _append(self, *parts: bytes) -> None:
        self._parts += parts
        length = sum(map(len, parts))
        self.size += length
        self._gathered += length
        if self._gathered >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        data, members = b"".join(self._parts), self._members
        self._parts, self._members, self._gathered = [], [], 0
        self._running.append(self._hashing.submit(self._hash, data, members))
        self._running.append(self._writing.submit(write_all, self._file.fileno(), data))
        self._wait(2 * BEHIND)

    def _hash(self, data: bytes, members: list[tuple[int, int]]) -> None:
        self._sha256.update(data)
        view = memoryview(data)
        self.checksums += [crc32(view[start:end]) for start, end in members]

    def _wait(self, running: int) -> None:
        """Until at most so many are under way. Raises what writing raised, such as OSError on a full disk."""
        while len(self._running) > running:
            self._running.popleft().result()

    def finish(self) -> str:
        """Write the end mark; the SHA-256 of the whole archive."""
        end = self.size + 2 * BLOCK
        self._append(bytes(2 * BLOCK + -end % RECORD))
        self._flush()
        self._wait(0)
        return self._sha256.hexdigest()

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for threads in (self._hashing, self._writing):
            threads.shutdown(wait=True, cancel_futures=True)


def write_all(descriptor: int, data: bytes) -> None:
    """Raises OSError where the disk is full."""
    rest = memoryview(data)
    while rest:  # a write of a part is what a disk that fills up answers first
        rest = rest[os.write(descriptor, rest) :]
