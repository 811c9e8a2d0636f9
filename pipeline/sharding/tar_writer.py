"""A plain tar, written in one pass: each member's place is known as it is written, and the whole is hashed meanwhile.

Not webdataset.TarWriter: it goes through Python's tarfile at several times the cost of a member, gives no offsets,
and its times would make every run's bytes differ. Any tar, webdataset, wids and DALI read the result.
"""

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO

BLOCK = 512  # a member is one header block and its bytes, padded to blocks
RECORD = 20 * BLOCK  # archives end on a multiple of it, as tar writes them
FLUSH = 1 << 22  # bytes gathered before they are hashed and written: large enough to run beside the reading
SYNC = 1 << 25  # bytes after which the disk is made to begin: at the end of a shard all would wait for it

# ustar (POSIX.1-1988): name, mode, owner and group, size, time, checksum, type, magic; no time and no owner, so
# that equal members are equal bytes.
_BEFORE_SIZE = b"0000444\0" + b"0000000\0" * 2
_AFTER_SIZE = b"\0" + b"00000000000\0" + b" " * 8 + b"0" + bytes(100) + b"ustar\00000" + bytes(247)
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
    """Writes members to an open file. Two threads hash and write what has been gathered, beside the gathering."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = 0
        self._file = file
        self._sha256 = hashlib.sha256()
        self._parts: list[bytes] = []
        self._gathered = 0
        self._synced = 0
        self._threads = ThreadPoolExecutor(2)
        self._running: list[Future[None]] = []

    def add(self, header: bytes, data: bytes) -> int:
        """Append a member with the header that `tar_header` made for it; the offset of its data."""
        offset = self.size + BLOCK
        padding = -len(data) % BLOCK
        self._append(header, data, bytes(padding))
        return offset

    def _append(self, *parts: bytes) -> None:
        self._parts += parts
        length = sum(map(len, parts))
        self.size += length
        self._gathered += length
        if self._gathered >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._wait()
        chunk = b"".join(self._parts)
        self._parts.clear()
        self._gathered = 0
        self._running = [
            self._threads.submit(self._sha256.update, chunk),
            self._threads.submit(self._write, chunk, self.size),
        ]

    def _write(self, chunk: bytes, size: int) -> None:
        self._file.write(chunk)
        if size - self._synced >= SYNC:
            os.fdatasync(self._file.fileno())
            self._synced = size

    def _wait(self) -> None:
        """Raises what the last write raised, such as OSError on a full disk."""
        for running in self._running:
            running.result()

    def finish(self) -> str:
        """Write the end mark; the SHA-256 of the whole archive."""
        end = self.size + 2 * BLOCK
        self._append(bytes(2 * BLOCK + -end % RECORD))
        self._flush()
        self._wait()
        return self._sha256.hexdigest()

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
