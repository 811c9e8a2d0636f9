"""A set elsewhere as a folder here: its tables at once, its shards when they are needed, within a bound of bytes.

Many processes share the folder, those of a node or of several trainings. Each file has a lock: who holds it fetches,
the others wait and find the file there. The kernel takes the lock from a process that dies; what that leaves is a
.partial, which counts as room taken only as long as somebody writes it.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any, TypeVar

from pipeline.atomic import PARTIAL, write_whole
from pipeline.errors import BadInput, disk_error
from pipeline.index import INDEX, MEMBERS, SAMPLES, load_index
from pipeline.order import Order
from pipeline.remote import Place, Remote
from pipeline.remote_store import sends_ranges

CACHE = "~/.cache/noise2noise/shards"
PART = 1 << 23  # bytes asked for at once: what a connection that drops costs again
WAIT_S = 0.02  # for room that others fill
TRIES = 3  # of a file that comes, and is not what the index says
SEND_AGAIN = "send it there again; `n2n inspect --verify` lists all that is wrong with a set"
OPENED = 10  # tries to open what another process may delete in between

Opened = TypeVar("Opened")


class ShardCache:
    """The folder for one set: `path(number)` is a shard's file here, fetched if it was not.

    Raises BadInput, on opening, where there is no finished set at the address, or the store does not answer.
    """

    def __init__(self, remote: Remote, parent: str = "", most_bytes: int = 0) -> None:
        """In a folder below `parent` that is named by address and index, so that sets never mix; 0: no bound."""
        self.remote = remote
        self.most_bytes = most_bytes
        self.order: Order | None = None
        self.draw = RawValue("q", 0)
        """Where the training is, for all processes that are forked from this one."""
        said = read_index(remote)
        name = f"{remote.name}-{hashlib.sha256(remote.url.encode() + said).hexdigest()[:16]}"
        self.folder = Path(parent or CACHE).expanduser() / name
        try:
            (self.folder / "locks").mkdir(parents=True, exist_ok=True)
            self._once(INDEX, lambda: write(self.folder / INDEX, said))
        except OSError as error:
            raise disk_error(error, self.folder) from error
        self.index = load_index(self.folder)
        self.shards = {entry.name: entry for entry in self.index.shards}
        self._once(SAMPLES, lambda: self._fetch(SAMPLES, self.index.samples_sha256))
        if self.index.members_sha256:
            self._once(MEMBERS, lambda: self._fetch(MEMBERS, self.index.members_sha256))

    def follow(self, order: Order, draw: int) -> None:
        """Let an order, from a draw on, say what may go. Raises BadInput where two windows of it do not fit."""
        self.order, self.draw.value = order, draw
        largest = sorted((shard.bytes for shard in self.index.shards), reverse=True)[: 2 * order.window]
        if 0 < self.most_bytes < sum(largest):
            raise BadInput(
                "the cache is too small",
                where="data.cache_gb",
                got=f"{self.most_bytes / 1e9:.4g}",
                wanted=f"at least {sum(largest) / 1e9:.4g}, for {len(largest)} shards: two times loader.window, or all",
                todo="allow so much, or set loader.window to fewer shards",
            )

    def soon(self) -> list[int]:
        """The shards of this window and of the next one, in the order in which they are needed."""
        if self.order is None:
            return []
        upcoming = self.order.upcoming_shards(self.draw.value)[: 2 * self.order.window].tolist()
        return [number for number in upcoming if self.index.shards[number].samples]

    def present(self) -> set[str]:
        """The names of the shards that are here."""
        return self.shards.keys() & set(os.listdir(self.folder))

    def opened(self, number: int, by: Callable[[Path], Opened]) -> Opened:
        """What `by` makes of a shard's file, although others may delete it at any moment: what is open stays whole."""
        for _ in range(OPENED):
            try:
                return by(self.path(number))
            except FileNotFoundError:  # deleted between the two
                continue
        where, todo = self.folder / self.index.shards[number].name, "set data.cache_gb to more"
        raise BadInput(
            "the cache is too small for those who share it", where, "deleted whenever it had come", todo=todo
        )

    def path(self, number: int) -> Path:
        """Raises BadInput where the shard cannot be had."""
        self.fetch(number)
        return self.folder / self.index.shards[number].name

    def fetch(self, number: int, wait: bool = True) -> bool:
        """Bring a shard here where it is not; False where another process is at it, and this one does not `wait`."""
        entry = self.index.shards[number]
        return self._once(entry.name, lambda: self._fetch(entry.name, entry.sha256, entry.bytes), wait)

    def _once(self, name: str, make: Callable[[], None], wait: bool = True) -> bool:
        path = self.folder / name
        if path.exists():
            return True
        with self._locked(name, wait) as mine:
            if mine and not path.exists():
                make()
            return mine

    def _fetch(self, name: str, sha256: str, size: int | None = None) -> None:
        """Bring a file here, whole and as the index says, or not at all. Its lock must be held."""
        source, got = self.remote / name, ""
        try:
            length = source.stat().st_size if size is None else size
            if length is None:
                raise BadInput("a file of unknown size", source, "no Content-Length", "a store that says it")
            for _ in range(TRIES):
                while not self._has_room(name, length):
                    time.sleep(WAIT_S)
                try:
                    with write_whole(self.folder / name) as file:
                        copy(source, length, file, sha256)
                    return
                except Different as error:
                    got = str(error)
        except FileNotFoundError as error:
            todo = "send it there again; `n2n inspect --verify` lists all that is wrong with a set"
            raise BadInput(
                "a file of the set is missing", source, "nothing there", "what its index lists", todo
            ) from error
        except OSError as error:
            raise disk_error(error, self.folder / name) from error
        todo = "send it there again; `n2n inspect --verify` lists all that is wrong with a set"
        raise BadInput(
            "a file of the set is damaged",
            source,
            f"SHA-256 {got}, {TRIES} times",
            f"{sha256}, as its index says",
            todo,
        )

    def _has_room(self, wanted: str, size: int) -> bool:
        """Reserve room for a shard that is to come: delete what is needed last; False where others fill the rest."""
        if not self.most_bytes or wanted not in self.shards:
            return True
        with self._locked("room"):
            names = set(os.listdir(self.folder))
            coming = self._written({name.removesuffix(PARTIAL) for name in names if name.endswith(PARTIAL)} - {wanted})
            taken = sum(self.shards[name].bytes for name in self.shards.keys() & (names | coming))
            for name in self._by_need(names):
                if taken + size <= self.most_bytes:
                    break
                (self.folder / name).unlink(missing_ok=True)
                taken -= self.shards[name].bytes
            if taken + size > self.most_bytes and coming:
                return False
            (self.folder / f"{wanted}{PARTIAL}").touch()
        return True

    def _written(self, coming: set[str]) -> set[str]:
        """Of what has a .partial, that which somebody writes; leftovers of dead processes are deleted."""
        written = set()
        for name in coming:
            with self._locked(name, wait=False) as mine:
                if mine:
                    (self.folder / f"{name}{PARTIAL}").unlink(missing_ok=True)
                else:
                    written.add(name)
        return written

    def _by_need(self, names: set[str]) -> list[str]:
        """The shards among these, what is needed last first."""
        if self.order is None:
            return sorted(self.shards.keys() & names)
        upcoming = self.order.upcoming_shards(self.draw.value)[::-1].tolist()
        return [name for name in (self.index.shards[number].name for number in upcoming) if name in names]

    @contextmanager
    def _locked(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Whether this process has the lock of a file, which it can only lack where it does not `wait`."""
        descriptor = os.open(self.folder / "locks" / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            yield has_lock(descriptor, wait)
        finally:
            os.close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "draw"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.draw = RawValue("q", 0)


class Different(Exception):  # noqa: N818  # another try may bring it
    """What came has this SHA-256, and should have another."""


def has_lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def copy(source: Remote, size: int, file: Any, sha256: str) -> None:
    """Raises Different where it is not what it should be."""
    got = hashlib.sha256()
    whole = size > PART and source.is_http and not sends_ranges(source.url)
    part = size if whole else PART
    for start in range(0, size, part):
        try:
            data = source.pread(min(part, size - start), start)
        except FileNotFoundError as error:
            raise BadInput(
                "a file of the set is missing", source, "nothing", "what its index lists", SEND_AGAIN
            ) from error
        got.update(data)
        file.write(data)
    if got.hexdigest() != sha256:
        raise Different(got.hexdigest())


def read_index(remote: Remote) -> bytes:
    try:
        return (remote / INDEX).read_bytes()
    except FileNotFoundError as error:
        wanted, todo = "the output of `n2n shard`", "check the address; has its `n2n shard` finished?"
        raise BadInput("not a finished shard set", remote, f"no {INDEX} there", wanted, todo) from error


def write(path: Path, data: bytes) -> None:
    with write_whole(path) as file:
        file.write(data)


def opened_at(where: Path | ShardCache) -> tuple[Path, ShardCache | None]:
    """The folder to read in, and what fills it."""
    return (where.folder, where) if isinstance(where, ShardCache) else (where, None)


def nearby(where: Place, parent: str = "", most_bytes: int = 0) -> Path | ShardCache:
    """A set's folder here, or the cache of one elsewhere."""
    return ShardCache(where, parent, most_bytes) if isinstance(where, Remote) else where
