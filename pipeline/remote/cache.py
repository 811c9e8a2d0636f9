"""A set at an address: its index and tables here from the start, its shards when they are needed, in bounded space."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.atomic import PARTIAL, write_whole
from pipeline.errors import BadInput, disk_error
from pipeline.foreign import indexed
from pipeline.index import INDEX, MEMBERS, SAMPLES, load_index
from pipeline.remote.place import Place, Remote, place
from pipeline.shard_files import ShardFiles

PART = 1 << 23  # bytes asked for at once, so that a connection that is cut costs no more
TRIES = 3  # of a whole file that arrives with the wrong checksum
SEND_AGAIN = "look with `n2n inspect ADDRESS --verify`; send the file there again"
LOOK_S = 0.05  # between two looks for room that others are about to leave


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """Where shards of sets at s3://, gs:// and https:// are kept; processes of a machine share it."""

    folder: str = "~/.cache/noise2noise/shards"
    """On a disk of the machine; a set has a folder of its own in it, by its index."""
    most_gb: float = 0
    """Room for the shards of one set, in 1e9 bytes; 0 for all of them. At least two windows must fit."""

    def __post_init__(self) -> None:
        if not self.most_gb >= 0:
            raise ValueError(f"data.cache.most_gb is {self.most_gb}; wanted at least 0")


class ShardCache(ShardFiles):
    """The files of a set elsewhere: opening a shard fetches it where it is not here.

    A shard is checked against its SHA-256 and renamed into place, so that what has its name is whole. Each has a lock
    file: who holds the lock downloads, the others wait and then find it. The kernel takes the lock from a process that
    dies; what it leaves is a .partial, which the next one removes. Room is made under a lock of its own, by unlinking
    what is needed last, and is taken by the .partial before the first byte comes. Where not all of the set fits, no
    file stays open or mapped between two uses, as one that is unlinked would still fill the disk.

    A lock must not be held over a fork, since the child would hold it on: begin threads that fetch after all forks.
    """

    def __init__(self, remote: Remote, folder: Path, most_bytes: int) -> None:
        super().__init__(folder)
        self.remote = remote
        self.address = self.origin = str(remote)
        self.whole = sum(shard.bytes for shard in self.index.shards)
        self.most_bytes = most_bytes or self.whole
        self.keeps = self.most_bytes >= self.whole
        self.number = {shard.name: number for number, shard in enumerate(self.index.shards)}
        self.need = list(range(len(self.number)))
        """Shards, what is needed first at first: the order's, as far as it is known."""

    def check(self) -> None:
        """Nothing: shards are checked as they come."""

    def open(self, number: int) -> int:
        """A descriptor of a shard, once it is here. Raises BadInput where it cannot be had."""
        descriptor = self._opened(number)
        if descriptor is None:
            with locked(self._lock(number)):
                descriptor = self._opened(number)
                while descriptor is None:
                    self._fetch(number, must=True)
                    descriptor = self._opened(number)  # nobody else unlinks it while we have the lock
        return descriptor

    def ahead(self) -> Sequence[int]:
        """What is needed next, as much as there is room for."""
        need, total = self.need, 0
        for position, number in enumerate(need):
            total += self.index.shards[number].bytes
            if total > self.most_bytes:
                return need[:position]
        return need

    def fetch_ahead(self, number: int) -> None:
        """Fetch a shard, unless it is here, or is being fetched, or needs the room of what is needed sooner."""
        if not self.path(number).exists():
            with locked(self._lock(number), wait=False) as mine:
                if mine and not self.path(number).exists():
                    self._fetch(number, must=False)

    def _opened(self, number: int) -> int | None:
        """A descriptor of the whole shard, if it is here."""
        try:
            descriptor = os.open(self.path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if os.fstat(descriptor).st_size == self.index.shards[number].bytes:
            return descriptor
        os.close(descriptor)  # somebody has cut it
        return None

    def _lock(self, number: int) -> Path:
        return self.folder / f"{self.index.shards[number].name}.lock"

    def _fetch(self, number: int, must: bool) -> None:
        """To be called with the shard's lock. A shard that must come also takes the room of what is needed sooner."""
        entry, path = self.index.shards[number], self.path(number)
        try:
            fetch(self.remote / entry.name, path, entry.bytes, entry.sha256, lambda: self._room(number, must))
        except OSError as error:
            raise disk_error(error, path) from error

    def _room(self, number: int, must: bool) -> bool:
        """Whether there is room for a shard: then it is taken."""
        while True:
            with locked(self.folder / "room.lock"):
                if self._make_room(number, must):
                    partial_path(self.path(number)).touch()
                    return True
            if not must:
                return False
            time.sleep(LOOK_S)  # others fill all of it; what they have fetched can be unlinked once it was opened

    def _make_room(self, number: int, must: bool) -> bool:
        """Unlink what is needed last until the shard fits; True if it does."""
        shards = self.index.shards
        here, total = self._held(number)
        total += shards[number].bytes
        spared = set() if must else set(self.ahead())
        when = {n: position for position, n in enumerate(self.need)}
        for victim in sorted(here - spared, key=when.__getitem__, reverse=True):
            if total <= self.most_bytes:
                break
            with locked(self._lock(victim), wait=False) as mine:
                if mine:
                    self.path(victim).unlink(missing_ok=True)
                    total -= shards[victim].bytes
        return total <= self.most_bytes

    def _held(self, number: int) -> tuple[set[int], int]:
        """The other shards that are here, and the bytes of these and of those that are coming."""
        here, total = set(), 0
        for name in os.listdir(self.folder):
            coming = name.endswith(PARTIAL)
            other = self.number.get(name.removesuffix(PARTIAL), number)
            if other == number:
                continue
            if coming:
                with locked(self._lock(other), wait=False) as left:
                    if left:  # by a process that has died
                        (self.folder / name).unlink(missing_ok=True)
                        continue
            else:
                here.add(other)
            total += self.index.shards[other].bytes
        return here, total


def fetch(source: Remote, path: Path, size: int, sha256: str, room: Callable[[], bool] = lambda: True) -> None:
    """Bring a file here, whole and checked, where there is room. Raises BadInput where that cannot be."""
    for _ in range(TRIES):
        if not room():
            return
        with suppress(Damaged), write_whole(path) as file:
            got = copy(source, file, size)
            if got == sha256:
                return
            raise Damaged
    raise BadInput(
        "a file of the set is damaged where it lies, or on its way",
        where=source,
        got=f"SHA-256 {got}, {TRIES} times",
        wanted=f"{sha256} of {size:,} bytes, as index.json says",
        todo=SEND_AGAIN,
    )


class Damaged(Exception):  # noqa: N818  # it is tried again
    """What has come is not what was written."""


def copy(source: Remote, file: BinaryIO, size: int) -> str:
    """Write a file from elsewhere into one here; its SHA-256."""
    sha256 = hashlib.sha256()
    pieces = source.pieces(size, PART)
    while True:
        try:
            data = next(pieces, b"")
        except FileNotFoundError as error:
            raise missing(source) from error
        if not data:
            return sha256.hexdigest()
        sha256.update(data)
        file.write(data)


def missing(file: Remote) -> BadInput:
    wanted = "every file that index.json lists"
    return BadInput("a file of the set is missing", file, "no such file", wanted, SEND_AGAIN)


def partial_path(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock among processes and threads; False where it is not waited for and somebody else has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            mine = True
        except BlockingIOError:
            mine = False
        except OSError as error:  # a file system without locks
            raise disk_error(error, path) from error
        yield mine
    finally:
        os.close(descriptor)


def open_files(address: str | Place, config: CacheConfig, window: int | None = None, lanes: int = 1) -> ShardFiles:
    """The files of a set in a folder or at an address; of the latter, index and tables are brought here.

    `window` is how many shards are in use at a time (0: all) in each of `lanes`, None where that is not known. Raises
    BadInput where there is no finished set, or where two windows of each lane have no room.
    """
    there = address if isinstance(address, Remote) else place(address)
    if isinstance(there, Path):
        return ShardFiles(indexed(there))
    index = load_index(there)
    document = (there / INDEX).read_bytes()
    folder = Path(config.folder).expanduser() / hashlib.sha256(document).hexdigest()[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from error
    for name, sha256 in ((SAMPLES, index.samples_sha256), (MEMBERS, index.members_sha256)):
        with locked(folder / f"{name}.lock"):
            if sha256 and not (folder / name).exists():
                fetch(there / name, folder / name, size_of(there / name), sha256)
    with locked(folder / f"{INDEX}.lock"), write_whole(folder / INDEX) as file:
        file.write(document)
    cache = ShardCache(there, folder, round(config.most_gb * 1e9))
    refuse_small(cache, window, lanes)
    return cache


def size_of(file: Remote) -> int:
    try:
        size = file.stat().st_size
    except FileNotFoundError as error:
        raise missing(file) from error
    if size is None:
        raise BadInput("a file of unknown size", file, "no Content-Length", "a server that says it")
    return size


def refuse_small(cache: ShardCache, window: int | None, lanes: int) -> None:
    """Raise BadInput where two windows have no room: they would be fetched again and again."""
    sizes = sorted((shard.bytes for shard in cache.index.shards), reverse=True)
    what = "the largest shard" if window is None else f"two windows of {window}" if window else "the set"
    what += f" in each of this machine's {lanes} lanes" if window and lanes > 1 else ""
    least = sizes[0] if window is None else sum(sizes[: 2 * window * lanes or None])
    if cache.most_bytes < least:
        raise BadInput(
            "the cache is too small",
            where="data.cache.most_gb",
            got=f"{cache.most_bytes / 1e9:g}, {cache.most_bytes:,} bytes",
            wanted=f"room for {what}: {least:,} bytes of {cache.whole:,}",
            todo=f"set data.cache.most_gb to {least / 1e9 + 0.001:.3f}, or loader.window to fewer shards (0 is all)",
        )
