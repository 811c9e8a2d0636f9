"""Addresses such as s3://bucket/folder: as much of pathlib.Path as sharding needs, over fsspec.

A written object appears whole or not at all, and is compared with what was sent before it counts as written.
"""

import io
import os
import re
import shutil
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.errors import BadInput, disk_error
from pipeline.remote.errors import ask, status_of
from pipeline.remote.send import send
from pipeline.remote.store import GONE, PACKAGES, require_ranges, sends_ranges, store

BUFFER = 1 << 23  # bytes that an open file asks for at a time
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Status(NamedTuple):
    """What os.stat_result and this have in common."""

    st_size: int | None
    """None where the server does not say."""


class Entry(NamedTuple):
    """One name in a folder."""

    name: str
    folder: bool
    size: int | None


@dataclass(frozen=True)
class Remote:
    """A folder or file elsewhere. Every question raises what `errors.ask` raises."""

    url: str
    """Without a slash at its end; percent-encoded where it is HTTP."""

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.url}/{urllib.parse.quote(name) if self.is_http else name}" if name else self.url)

    @property
    def protocol(self) -> str:
        return self.url.partition("://")[0]

    @property
    def is_http(self) -> bool:
        return self.protocol in ("http", "https")

    @property
    def parts(self) -> tuple[str, ...]:
        path = self.url.partition("://")[2]
        path = path.partition("?")[0] if self.is_http else path  # a signature may stand behind it
        return (f"{self.protocol}://", *(self.unquoted(part) for part in path.split("/") if part))

    def unquoted(self, name: str) -> str:
        return urllib.parse.unquote(name) if self.is_http else name

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> "Remote":
        return Remote(self.url.rpartition("/")[0])

    def info(self) -> dict[str, Any]:
        """What the store says of it. Raises FileNotFoundError."""
        return ask(self.url, self._info)

    def _info(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = store(self.protocol).info(self.url)
        except FileNotFoundError as error:
            # Of HTTP the store says so whatever has happened, and keeps the reason.
            if isinstance(error.__cause__, Exception) and status_of(error.__cause__) not in GONE:
                raise error.__cause__ from error
            raise
        return found

    def stat(self) -> Status:
        return Status(self.info().get("size"))

    def exists(self) -> bool:
        return self._kind() is not None

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def _kind(self) -> str | None:
        try:
            return str(self.info()["type"])
        except FileNotFoundError:
            return None

    def entries(self) -> list[Entry]:
        """What is in a folder. Raises FileNotFoundError."""
        address = f"{self.url}/" if self.is_http else self.url
        found = ask(self.url, lambda: store(self.protocol).ls(address, detail=True))
        start = f"{self.url}/" if self.is_http else store(self.protocol)._strip_protocol(self.url) + "/"
        entries = {}
        for item in found:
            name = item["name"].removeprefix(start)
            folder = item["type"] == "directory"
            if name == item["name"] or "?" in name * self.is_http or not name.strip("/"):
                continue  # a link to elsewhere, the headings of a listing by which it is sorted, the folder itself
            if "/" not in name.rstrip("/"):
                entries[name] = Entry(self.unquoted(name.rstrip("/")), folder, item.get("size"))
        return list(entries.values())

    def iterdir(self) -> Iterator["Remote"]:
        for entry in self.entries():
            yield self / entry.name

    def glob(self) -> list["Remote"]:
        """Where this is a pattern, the addresses that fit it."""
        found = ask(self.url, lambda: store(self.protocol).glob(self.url))
        return [Remote(name if "://" in name else f"{self.protocol}://{name}") for name in found]

    def pread(self, size: int, offset: int) -> bytes:
        """As os.pread: fewer bytes where the file ends before."""
        if size <= 0:
            return b""
        if offset and self.is_http:
            require_ranges(self.url)
        data: bytes = ask(self.url, lambda: self._range(offset, offset + size))
        return data[:size]

    def pieces(self, size: int, part: int) -> Iterator[bytes]:
        """The first `size` bytes, one part after the other; in one go from a web server that sends no parts."""
        if size > part and self.is_http and not sends_ranges(self.url):
            part = size
        for start in range(0, size, part):
            yield self.pread(min(part, size - start), start)

    def _range(self, start: int, end: int) -> bytes:
        try:
            data: bytes = store(self.protocol).cat_file(self.url, start=start, end=end)
        except Exception as error:
            if "416" in str(error) or "InvalidRange" in str(error) or "range is not satisfiable" in str(error):
                return b""  # all of it lies behind the end
            raise
        return data

    def read_bytes(self) -> bytes:
        data: bytes = ask(self.url, lambda: store(self.protocol).cat_file(self.url))
        return data

    def open(self, mode: str = "rb") -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(RemoteFile(self), BUFFER)

    def write_bytes(self, data: bytes) -> None:
        with self.write_whole() as file:
            file.write(data)

    @contextmanager
    def write_whole(self) -> Iterator[BinaryIO]:
        """A file here, without a name that a killed process could leave behind, which is sent when it is complete."""
        try:
            with tempfile.TemporaryFile() as file:
                yield file
                file.flush()
                send(file, self.url)
        except OSError as error:
            raise disk_error(error, f"{tempfile.gettempdir()}, for {self.name} (TMPDIR moves it)") from error

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            ask(self.url, lambda: store(self.protocol).rm_file(self.url))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_tree(self) -> None:
        def remove() -> None:
            if found := store(self.protocol).find(self.url):
                store(self.protocol).rm(found)

        with suppress(FileNotFoundError):
            ask(self.url, remove)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder elsewhere is there when something is in it."""


Place = Path | Remote


class RemoteFile(io.RawIOBase):
    """A file elsewhere, readable at any place."""

    def __init__(self, remote: Remote) -> None:
        size = remote.stat().st_size
        if size is None:
            raise BadInput("a file of unknown size", remote, "no Content-Length", "a file", "download it first")
        self._remote, self._size, self._position = remote, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._remote.pread(min(len(buffer), self._size - self._position), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def real(path: Place) -> Place:
    """With all links followed, as far as they lead somewhere."""
    return path if isinstance(path, Remote) else Path(os.path.realpath(path))


def remove_tree(folder: Place) -> None:
    """Delete a folder with all that is in it, where there is one."""
    if isinstance(folder, Remote):
        folder.remove_tree()
    elif folder.exists():
        shutil.rmtree(folder)


def place(text: str | Path) -> Place:
    """A folder here or an address elsewhere. Raises BadInput where the address is of a kind that is not known."""
    match = ADDRESS.match(str(text))
    if match is None:
        return Path(text)
    protocol = match[1].lower()
    rest = str(text)[match.end() :].rstrip("/")
    if protocol not in PACKAGES or not rest:
        raise BadInput("not an address", str(text), match[0], "s3://BUCKET/..., gs://BUCKET/... or https://...")
    return Remote(f"{protocol}://{rest}")


def output_place(text: str) -> Place:
    """The same for what is to be written."""
    out = place(text)
    if isinstance(out, Remote) and out.is_http:
        raise BadInput("nothing can be written there", "--out", text, "a folder, s3://... or gs://...")
    return out
