"""A large file from a server, through whatever connection there is: resumed, never mixed, whole or absent.

NAME.partial grows; NAME.partial.json remembers which version of the file it is a part of, so that a killed download
goes on with the same command and two versions are never joined. NAME appears once all bytes are there and checked.
"""

import contextlib
import fcntl
import http.client
import json
import os
import random
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from pipeline.atomic import PARTIAL, sync_folder, write_whole
from pipeline.errors import BadInput, disk_error

CHUNK = 1 << 18
BRIEFLY = (408, 425, 429)  # refusals that pass, as do all from 500 on


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to go on where a connection fails."""

    tries: int = 8
    """In a row with less than `progress_bytes` between them."""
    first_tries: int = 3
    """Before the server has answered for the first time: where there is no network, waiting does not bring it."""
    progress_bytes: int = 1 << 20
    timeout_s: float = 30
    """Of silence."""
    wait_s: float = 1
    """Before the second try; doubled for each after it, and shortened by chance, so that clients do not march."""
    longest_wait_s: float = 60


class TryAgain(Exception):  # noqa: N818  # not an error yet
    """This try has failed; another may not. `wait_s` is what the server asked for."""

    def __init__(self, why: str, wait_s: float = 0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Version:
    """Which file on the server a partial one is the beginning of."""

    url: str
    validator: str
    """A strong ETag or a Last-Modified, as If-Range takes them; empty where the server gives neither."""
    bytes: int | None

    def save(self, path: Path) -> None:
        with write_whole(path) as file:
            file.write(json.dumps(asdict(self)).encode())


def load_version(path: Path) -> Version | None:
    try:
        return Version(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None  # the download starts again


def download(
    url: str, path: Path, check: Callable[[Path], None], size: int | None = None, patience: Patience | None = None
) -> None:
    """Bring a file of `size` bytes (None: what the server says) to `path`, going on where an earlier call was stopped.

    `check` gets the whole file under its partial name and raises BadInput where it is not what it should be; it is
    deleted then. Raises BadInput where there is no network, no such file, no room, or no end of failures.
    """
    partial = path.with_name(path.name + PARTIAL)
    note = partial.with_name(partial.name + ".json")
    with sole_partial(partial) as file:
        try:
            Transfer(url, path, file, note, size, patience or Patience()).run()
        except BadInput:
            if not os.fstat(file.fileno()).st_size:  # nothing came: nothing to go on from
                partial.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
            raise
        try:
            check(partial)
        except BadInput:
            partial.unlink()
            note.unlink(missing_ok=True)
            raise
        try:
            os.fsync(file.fileno())
            os.replace(partial, path)
            sync_folder(path.parent)
        except OSError as error:
            raise disk_error(error, path) from error
    note.unlink(missing_ok=True)


@contextmanager
def sole_partial(partial: Path) -> Iterator[BinaryIO]:
    """Open the partial file, for one process at a time. Raises BadInput where another one is writing to it."""
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        file = open(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)  # noqa: SIM115  # closed below
    except OSError as error:
        raise disk_error(error, partial) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            todo = "wait for it, or choose another --out"
            raise BadInput("another process is fetching this file", partial, todo=todo) from error
        yield file


@dataclass
class Transfer:
    """The tries that bring one file."""

    url: str
    path: Path
    file: BinaryIO
    note: Path
    size: int | None
    patience: Patience
    answered: bool = False
    bar: "tqdm[Any]" = field(init=False)

    def run(self) -> None:
        with tqdm(desc=self.path.name, total=self.size, unit="B", unit_scale=True, disable=None) as self.bar:
            failures, best = 0, 0
            while True:
                try:
                    self.attempt()
                    return
                except TryAgain as failure:
                    reached = self.file.seek(0, os.SEEK_END)
                    if reached >= best + self.patience.progress_bytes:
                        failures, best = 0, reached
                    failures += 1
                    self.wait(failures, failure)

    def wait(self, failures: int, failure: TryAgain) -> None:
        limit = self.patience.tries if self.answered else self.patience.first_tries
        if failures >= limit:
            raise self.gave_up(failures, str(failure)) from failure
        backoff = self.patience.wait_s * 2 ** (failures - 1) * random.uniform(0.5, 1)
        wait_s = min(self.patience.longest_wait_s, max(failure.wait_s, backoff))
        self.bar.clear()
        sys.stderr.write(f"{failure}; trying again in {wait_s:.0f} s\n")
        time.sleep(wait_s)

    def attempt(self) -> None:
        """One connection: from where the file ends, or from the beginning. Raises TryAgain where it brings no end."""
        version, start = load_version(self.note), self.file.seek(0, os.SEEK_END)
        if version is None or version.url != self.url or start > (version.bytes or start):
            version, start = None, 0
        if version and start == version.bytes:
            return
        try:
            with urllib.request.urlopen(self.request(version, start), timeout=self.patience.timeout_s) as answer:
                self.answered = True
                version, start = self.agree(answer, version, start)
                self.copy(answer, version, start)
        except urllib.error.HTTPError as error:
            with error:
                self.answered = True
                self.refused(error)
        except (ValueError, http.client.InvalidURL) as error:
            raise BadInput("not an address", self.url, str(error), "http:// or https://") from error
        except (OSError, http.client.HTTPException) as error:  # dropped, silent, no such host, no route
            raise TryAgain(said(error)) from error

    def request(self, version: Version | None, start: int) -> urllib.request.Request:
        headers = {"User-Agent": "n2n"}
        if version and start:
            headers["Range"] = f"bytes={start}-"
            if version.validator:
                headers["If-Range"] = version.validator
        return urllib.request.Request(self.url, headers=headers)

    def agree(self, answer: Any, version: Version | None, start: int) -> tuple[Version, int]:
        """What the server is sending, and from which byte on. Raises TryAgain where it is not what was asked for."""
        found = offered(answer, self.url)
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
            if version is None or (*found[1:], found[0]) != (version.validator, version.bytes, start):
                self.forget()
                raise TryAgain("the file on the server has changed")
            if version.bytes is not None:
                self.check_room(version.bytes - start)
            return version, start
        fresh = Version(self.url, found[1], self.size if found[2] is None else found[2])
        self.refuse_size(fresh)
        self.forget()  # a new file, a changed one, or a server that sends no ranges
        self.check_room(fresh.bytes or 0)
        fresh.save(self.note)
        return fresh, 0

    def copy(self, answer: Any, version: Version, start: int) -> None:
        self.bar.reset(version.bytes)
        self.bar.n = self.bar.initial = self.bar.last_print_n = start  # the rate is of this connection
        self.bar.refresh()
        self.file.seek(start)
        while data := answer.read1(CHUNK):  # as it comes, so that a kill loses nothing
            self.write(data)
            self.bar.update(len(data))
            start += len(data)
        if version.bytes is not None and start != version.bytes:
            raise TryAgain(f"the connection ended at {start:,} of {version.bytes:,} bytes")

    def write(self, data: bytes) -> None:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            raise disk_error(error, self.path) from error

    def forget(self) -> None:
        """Begin anew: no byte of another version stays."""
        try:
            self.note.unlink(missing_ok=True)
            self.file.truncate(0)
        except OSError as error:
            raise disk_error(error, self.path) from error

    def check_room(self, wanted: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if wanted > free:
            raise BadInput(
                "not enough room",
                where=self.path.parent,
                got=f"{free / 1e9:.1f} GB free",
                wanted=f"{wanted / 1e9:.1f} GB for {self.path.name}",
                todo="free space there, or choose another --out",
            )

    def refuse_size(self, version: Version) -> None:
        if self.size is not None and version.bytes not in (None, self.size):
            raise BadInput(
                "another file than the published one",
                where=self.url,
                got=f"{version.bytes:,} bytes",
                wanted=f"{self.size:,} bytes",
                todo="a login page or a wrong mirror? open the address in a browser; choose another --url",
            )

    def refused(self, error: urllib.error.HTTPError) -> None:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.forget()
            raise TryAgain("the file on the server has become shorter")
        why = f"the server answered {error.code} {error.reason}"
        if error.code in BRIEFLY or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            asked = error.headers.get("Retry-After", "")
            raise TryAgain(why, float(asked) if asked.isdecimal() else 0) from error
        raise BadInput("the server refuses", self.url, why, "a file", f"check the address; {self.by_hand()}") from error

    def gave_up(self, failures: int, why: str) -> BadInput:
        if not self.answered:
            wanted, todo = "a network (http_proxy, https_proxy and no_proxy are honoured)", self.by_hand()
            return BadInput("the server cannot be reached", self.url, why, wanted, f"check the network; {todo}")
        todo = f"run the same command again: it goes on from here; {self.by_hand()}"
        return BadInput("the download keeps failing", self.url, f"{why}, after {failures} tries", todo=todo)

    def by_hand(self) -> str:
        return f"or fetch {self.url} on another machine and put it at {self.path}"


def offered(answer: Any, url: str) -> tuple[int | None, str, int | None]:
    """First byte, validator and size of the whole file, as an answer says them."""
    etag = answer.headers.get("ETag", "")
    # A weak ETag promises the same meaning, not the same bytes; If-Range forbids it.
    validator = answer.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if span is None:
            return None, validator, None
        return int(span[1]), validator, None if span[2] == "*" else int(span[2])
    size = None
    with contextlib.suppress(ValueError):
        size = int(answer.headers.get("Content-Length", ""))
    return 0, validator, size


def said(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__
