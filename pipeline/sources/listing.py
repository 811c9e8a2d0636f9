"""What there is to shard: pictures in folders, lists and archives, in an order that no file system decides.

Nothing is unpacked: a picture in an archive is a place in a file. The listing is a table of numbers and one string
of names, some 60 bytes a picture and its name, because a Python object each would be ten times that.
"""

import os
import re
import stat
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.picture import SUFFIXES
from pipeline.remote.place import ADDRESS, Place, Remote
from pipeline.sources.folders import walk, walk_remote
from pipeline.sources.members import NO_CRC, TOO_LARGE, Member, Refused, is_picture, is_volume, unsafe_name
from pipeline.sources.roots import expand, labels, refuse_repeated
from pipeline.sources.tar_members import tar_pictures
from pipeline.sources.zip_members import zip_pictures

ARCHIVES = {".tar": tar_pictures, ".zip": zip_pictures}
COMPRESSED = (".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")


@dataclass(frozen=True)
class SourceFile:
    """A picture: the folder or archive it was found in, its name inside, and its size when it was listed."""

    root: Place
    name: str
    size: int
    label: str = ""
    """What tells its source from the others of the set, where there are several."""
    member: Member | None = None
    """Its place, where the source is an archive."""

    @property
    def place(self) -> Place:
        return self.root if self.member else self.root / self.name

    @property
    def path(self) -> Path:
        """Its place, where that is on a disk of this machine."""
        assert isinstance(self.place, Path)
        return self.place

    @property
    def where(self) -> str:
        return f"{self.root}, member {self.name}" if self.member else str(self.place)

    @property
    def title(self) -> str:
        """Its name in the set: valid text, whatever bytes the name is made of."""
        return as_text(f"{self.label}/{self.name}" if self.label else self.name)


def as_text(name: str) -> str:
    r"""A file name as text that any tool reads: bytes that are no UTF-8 are written out as \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Sources(Sequence[SourceFile]):
    """Every picture of several sources, and what looked like one but cannot be read."""

    def __init__(self, roots: list[Place], labels: list[str]) -> None:
        self.roots = roots
        self.labels = labels
        self.left_out: list[LeftOut] = []
        self.sizes = array("Q")
        self._archived: set[int] = set()
        self._root = array("L")
        self._name_end = array("Q")
        self._names = bytearray()
        self._members = {field: array("Q") for field in Member.__dataclass_fields__}

    def add(self, root: int, name: bytes, size: int, member: Member | None) -> None:
        self._root.append(root)
        self._names += name
        self._name_end.append(len(self._names))
        self.sizes.append(size)
        if member is not None:
            self._archived.add(root)
        for field, column in self._members.items():
            column.append(0 if member is None else getattr(member, field))

    def leave_out(self, root: int, name: bytes, kind: str, reason: str) -> None:
        title = SourceFile(self.roots[root], os.fsdecode(name), 0, self.labels[root]).title
        self.left_out.append(LeftOut(title, kind, reason))

    def name(self, position: int) -> bytes:
        start = self._name_end[position - 1] if position else 0
        return bytes(self._names[start : self._name_end[position]])

    def crc32(self, position: int) -> int:
        return self._members["crc32"][position] if self._root[position] in self._archived else NO_CRC

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, position: int) -> SourceFile: ...
    @overload
    def __getitem__(self, position: slice) -> list[SourceFile]: ...
    def __getitem__(self, position: int | slice) -> SourceFile | list[SourceFile]:
        if isinstance(position, slice):
            return [self[number] for number in range(*position.indices(len(self)))]
        position = range(len(self))[position]
        root = self._root[position]
        archived = root in self._archived
        fields = {field: column[position] for field, column in self._members.items()} if archived else {}
        return SourceFile(
            self.roots[root],
            os.fsdecode(self.name(position)),
            self.sizes[position],
            self.labels[root],
            Member(**fields) if archived else None,
        )

    def columns(self) -> "Iterator[bytes | bytearray | array[int]]":
        """Everything that the listing says, for a checksum; where the sources lie on this machine is not part of it."""
        yield repr((list(self.labels), len(self))).encode()
        yield self._names
        yield from (self.sizes, self._root, self._name_end, *self._members.values())


def list_sources(arguments: Sequence[str | Path], lists: Sequence[Path] = (), *, slices: bool = False) -> Sources:
    """Every picture in folders (nested as they like), tar and zip archives, and lists of paths; volumes with `slices`.

    An argument that is no path may be a glob, or an address (s3://, gs://, https://). Hidden files and folders are
    passed over; links are followed, a folder met a second time is not entered again. Within a source, the order is
    that of the names in a folder, that of the members in an archive and that of the lines in a list. Raises BadInput
    where a source is missing, is damaged or cannot be listed, or where no picture is found.
    """
    roots = [root for argument in arguments for root in expand(argument)]
    refuse_repeated(roots)
    sources = Sources([*roots, *(Path() for _ in lists)], labels([*roots, *lists]))
    for number, root in enumerate(roots):
        _list_root(sources, number, root, slices)
    for number, path in enumerate(lists, len(roots)):
        _list_lines(sources, number, path)
    if not len(sources):
        archives = any(_has_archives(root) for root in roots if isinstance(root, Path) and root.is_dir())
        raise BadInput(
            "no pictures",
            where=", ".join(map(str, [*roots, *lists])),
            got="no file with a picture's suffix" + (", but archives" if archives else ""),
            wanted=" ".join(sorted(SUFFIXES)),
            todo="name the archives themselves: FOLDER/*.tar or FOLDER/*.zip"
            if archives
            else "name the folder that holds the pictures (it may be nested), or an archive; volumes need --slices",
        )
    return sources


def list_pictures(roots: Iterable[Path]) -> Sources:
    """Every picture file below folders, or the files themselves; no archives. Raises BadInput as list_sources does."""
    roots = list(roots)
    for root in roots:
        if root.suffix.lower() in ARCHIVES and root.is_file():
            raise BadInput("an archive", root, "a tar or zip", "a folder of pictures, or a picture", "unpack it first")
    return list_sources(roots)


def refuse_volume(root: Place, slices: bool) -> None:
    if is_volume(root.name) and not slices and root.is_file():
        raise BadInput("a volume", root, "slices", "a picture", "add --slices to take volumes apart")


def _list_root(sources: Sources, number: int, root: Place, slices: bool) -> None:
    suffix = root.suffix.lower()
    refuse_volume(root, slices)
    if isinstance(root, Remote) and suffix not in (*ARCHIVES, *COMPRESSED):
        _list_remote(sources, number, root)
    elif isinstance(root, Path) and root.is_dir():
        for name, status in walk(root, slices):
            _add_file(sources, number, name, status)
    elif not root.exists():
        raise missing(root)
    elif suffix in ARCHIVES:
        for name, found in ARCHIVES[suffix](root, slices):
            if isinstance(found, Refused):
                sources.leave_out(number, name, found.kind, found.reason)
            else:
                sources.add(number, name, found.size, found)
    elif suffix in COMPRESSED and not is_volume(root.name):
        raise BadInput(
            "a compressed archive",
            root,
            f"a {suffix} file, of which no part can be read without all before it",
            "a plain tar or a zip",
            "decompress it first (gunzip, zstd -d); pictures hardly shrink anyway",
        )
    elif isinstance(root, Path):  # a picture by itself: its folder is the source
        sources.roots[number] = root.parent
        sources.labels[number] = sources.labels[number].rpartition("/")[0]
        _add_file(sources, number, os.fsencode(root.name), root.stat())


def _list_remote(sources: Sources, number: int, root: Remote) -> None:
    """A folder elsewhere, or a picture. HTTP knows no folders: there a picture is what is named like one."""
    name = os.fsencode(root.name)
    if is_picture(name) and root.is_file():
        sources.roots[number] = root.parent
        sources.labels[number] = sources.labels[number].rpartition("/")[0]
        _add_sized(sources, number, name, root.stat().st_size)
        return
    try:
        for name, size in walk_remote(root):
            if reason := unsafe_name(name):
                sources.leave_out(number, name, "unsafe", reason)
            else:
                _add_sized(sources, number, name, size)
    except FileNotFoundError as error:
        raise missing(root) from error


def _add_sized(sources: Sources, number: int, name: bytes, size: int | None) -> None:
    if size is None:
        sources.leave_out(number, name, "unreadable", "the server does not say its size")
    elif size > TOO_LARGE:
        sources.leave_out(number, name, "unreadable", f"{size:,} bytes, wanted at most {TOO_LARGE:,}")
    else:
        sources.add(number, name, size, None)


def missing(root: Place) -> BadInput:
    return BadInput("no such source", root, "nothing there", "a folder, a picture, a tar or a zip", "check the path")


def _add_file(sources: Sources, number: int, name: bytes, status: os.stat_result | None) -> None:
    if status is None:
        sources.leave_out(number, name, "unreadable", "a link to nothing")
    elif not stat.S_ISREG(status.st_mode):
        sources.leave_out(number, name, "unreadable", "not a regular file")
    else:
        _add_sized(sources, number, name, status.st_size)


def _list_lines(sources: Sources, number: int, path: Path) -> None:
    """Paths separated by newlines, or by NUL where there is one (find -print0); relative to the current folder."""
    todo = "name the folder's address as a source by itself: n2n shard s3://bucket/folder"
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(path)) and not path.exists():  # a Path has one slash less
        raise BadInput("a list at an address", path, "an address", "a file on a disk of this machine", todo)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput("the list cannot be read", path, error.strerror or str(error), "a file of paths") from error
    lines = content.split(b"\0" if b"\0" in content else b"\n")
    for line, name in enumerate(lines, 1):
        name = name.removesuffix(b"\r")
        if not name:
            continue
        if ADDRESS.match(as_text(os.fsdecode(name))):
            where, got = f"{path}, line {line}", as_text(os.fsdecode(name))
            raise BadInput("an address in a list", where, got, "paths of pictures on a disk of this machine", todo)
        try:
            status = os.stat(name)
        except OSError as error:
            where, got = f"{path}, line {line}", f"{as_text(os.fsdecode(name))}: {error.strerror}"
            raise BadInput("a listed picture is missing", where, got, "a path from here", "mend the list") from error
        _add_file(sources, number, name, status)


def _has_archives(folder: Path) -> bool:
    return any(path.suffix.lower() in ARCHIVES for path in folder.rglob("*"))
