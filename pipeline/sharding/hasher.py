"""What is hashed of an archive, piece by piece: digests that belong into it, its members' CRC-32 and its own SHA-256.

In the process that gathers the pieces, where all cores have one, or in another one that shares the memory, where some
have nothing to do. A thread would be slower: it asks for Python's lock after every picture, and whoever reads and
parses meanwhile waits for it as often.
"""

import hashlib
import mmap
import multiprocessing
import signal
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

from pipeline.errors import BadInput
from pipeline.index import crc32
from pipeline.orphans import DEAF_TO, die_with_peer

ROOM = 1 << 25  # bytes of a piece at most, for large members; what is never touched takes no memory
SLOTS = 4  # of pieces: one is gathered while others wait for another process, or are hashed by it


class Piece(NamedTuple):
    """Some of an archive, complete but for digests in it. Places are counted from its first byte."""

    slot: int
    used: int
    members: list[tuple[int, int, bool]]
    """Start and end of what a checksum is taken of, and whether it ends there or goes on in the next piece."""
    digests: list[tuple[int, int, int]]
    """Start and end of what is to be hashed, and where the digits of its SHA-256 belong."""


class Hasher(Protocol):
    """Hashes pieces in the order in which they are asked for."""

    slots: list[memoryview]
    """Of ROOM bytes each, where pieces lie, one after another; one that was asked about is kept until its answer."""
    full: int
    """Bytes from which on a piece is worth asking about."""

    def ask(self, piece: Piece) -> None: ...
    def answer(self) -> list[int]:
        """The CRC-32 of the members that end in the first piece that is not answered yet. Waits for it."""
        ...

    def finish(self) -> str:
        """The SHA-256 of all pieces, which are answered."""
        ...

    def close(self) -> None: ...


class HasherHere:
    """In this process: a small piece is still in the processor's cache when it is hashed twice and written."""

    full = 1 << 18

    def __init__(self, slots: list[memoryview] | None = None) -> None:
        self.slots = slots or shared_slots(1)
        self._sha256 = hashlib.sha256()
        self._crc = 0
        self._answers: deque[list[int]] = deque()

    def ask(self, piece: Piece) -> None:
        view = self.slots[piece.slot][: piece.used]
        for start, end, place in piece.digests:
            digits = hashlib.sha256(view[start:end]).hexdigest().encode()
            view[place : place + len(digits)] = digits
        self._sha256.update(view)
        checksums = []
        for start, end, ends in piece.members:
            self._crc = crc32(view[start:end], self._crc)
            if ends:
                checksums.append(self._crc)
                self._crc = 0
        self._answers.append(checksums)

    def answer(self) -> list[int]:
        return self._answers.popleft()

    def finish(self) -> str:
        return self._sha256.hexdigest()

    def close(self) -> None:
        pass


class HasherAside:
    """In a process of its own, beside the gathering of the next pieces."""

    full = 1 << 21

    def __init__(self) -> None:
        self.slots = shared_slots(SLOTS)
        fork = multiprocessing.get_context("fork")  # which hands on the memory; nothing that takes a lock runs in there
        self._pipe, theirs = fork.Pipe()
        self._process = fork.Process(target=serve, args=(self.slots, theirs, self._pipe), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, piece: Piece | None) -> None:
        """About a piece; None is the question that `finish` answers."""
        try:
            self._pipe.send(piece)
        except OSError as error:
            raise self._death() from error

    def answer(self) -> list[int]:
        checksums: list[int] = self._heard()
        return checksums

    def finish(self) -> str:
        self.ask(None)
        sha256: str = self._heard()
        return sha256

    def _heard(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _death(self) -> BadInput:
        self._process.join()
        got = f"process {self._process.pid} ended with {self._process.exitcode}"
        wanted = "enough memory: the kernel kills (-9) where it runs out"
        return BadInput("a process that hashes is gone", "this machine", got, wanted, "run the same command again")

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def shared_slots(count: int) -> list[memoryview]:
    """Anonymous memory: without a name to be left behind, and not of /dev/shm, which containers keep small."""
    memory = memoryview(mmap.mmap(-1, count * ROOM))
    return [memory[start : start + ROOM] for start in range(0, count * ROOM, ROOM)]


def serve(slots: list[memoryview], pipe: Connection, other_end: Connection) -> None:
    """In the process: answer until the archive is finished, or the other end is gone.

    Then it ends at once: it has inherited the lock of the set, which the same command, run again, will ask for.
    """
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    other_end.close()  # else it would never be gone
    die_with_peer(pipe.fileno())
    hasher = HasherHere(slots)
    try:
        while piece := pipe.recv():
            hasher.ask(piece)
            pipe.send(hasher.answer())
        pipe.send(hasher.finish())
    except (EOFError, OSError):
        return
