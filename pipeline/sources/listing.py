"""What there is to shard: pictures in folders, lists and archives, in an order that no file system decides.

Nothing is unpacked: a picture in an archive is a place in a file. The listing is a table of numbers and one string
of names, some 60 bytes a picture and its name, because a Python object each would be ten times that.
"""

import glob
import os
import stat
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.picture import SUFFIXES
from pipeline.sources.members import TOO_LARGE, Member, Refused, is_picture
from pipeline.sources.tar_members import tar_pictures
from pipeline.sources.zip_members import zip_pictures

ARCHIVES = {".tar": tar_pictures, ".zip": zip_pictures}
COMPRESSED = (".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")


@dataclass(frozen=True)
class SourceFile:
    """A picture: the folder or archive it was found in, its name inside, and its size when it was listed."""

    root: Path
    name: str
    size: int
    label: str = ""
    """What tells its source from the others of the set, where there are several."""
    member: Member | None = None
    """Its place, where the source is an archive."""

    @property
    def path(self) -> Path:
        return self.root if self.member else self.root / self.name

    @property
    def where(self) -> str:
        return f"{self.root}, member {self.name}" if self.member else str(self.path)

    @property
    def title(self) -> str:
        """Its name in the set: valid text, whatever bytes the name is made of."""
        return as_text(f"{self.label}/{self.name}" if self.label else self.name)


def as_text(name: str) -> str:
    r"""A file name as text that any tool reads: bytes that are no UTF-8 are written out as \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Sources(Sequence[SourceFile]):
    """Every picture of several sources, and what looked like one but cannot be read."""

    def __init__(self, roots: list[Path], labels: list[str]) -> None:
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
        fields = {field: column[position] for field, column in self._members.items()}
        return SourceFile(
            self.roots[root],
            os.fsdecode(self.name(position)),
            self.sizes[position],
            self.labels[root],
            Member(**fields) if root in self._archived else None,
        )

    def columns(self) -> "Iterator[bytes | bytearray | array[int]]":
        """Everything that the listing says, for a checksum; where the sources lie on this machine is not part of it."""
        yield repr((list(self.labels), len(self))).encode()
        yield self._names
        yield from (self.sizes, self._root, self._name_end, *self._members.values())


def list_sources(arguments: Sequence[str | Path], lists: Sequence[Path] = ()) -> Sources:
    """Every picture in folders (nested as they like), tar and zip archives, and lists of paths.

    An argument that is no path may be a glob. Hidden files and folders are passed over; links are followed, a
    folder met a second time is not entered again. Within a source, the order is that of the names in a folder,
    that of the members in an archive and that of the lines in a list. Raises BadInput where a source is missing,
    is damaged or cannot be listed, or where no picture is found.
    """
    roots = [root for argument in arguments for root in expand(argument)]
    refuse_repeated(roots)
    sources = Sources([*roots, *(Path() for _ in lists)], labels([*roots, *lists]))
    for number, root in enumerate(roots):
        _list_root(sources, number, root)
    for number, path in enumerate(lists, len(roots)):
        _list_lines(sources, number, path)
    if not len(sources):
        archives = any(_has_archives(root) for root in roots if root.is_dir())
        raise BadInput(
            "no pictures",
            where=", ".join(map(str, [*roots, *lists])),
            got="no file with a picture's suffix" + (", but archives" if archives else ""),
            wanted=" ".join(sorted(SUFFIXES)),
            todo="name the archives themselves: FOLDER/*.tar or FOLDER/*.zip"
            if archives
            else "name the folder that holds the pictures (it may be nested), or an archive of them",
        )
    return sources


def list_pictures(roots: Iterable[Path]) -> Sources:
    """Every picture file below folders, or the files themselves; no archives. Raises BadInput as list_sources does."""
    roots = list(roots)
    for root in roots:
        if root.suffix.lower() in ARCHIVES and root.is_file():
            raise BadInput("an archive", root, "a tar or zip", "a folder of pictures, or a picture", "unpack it first")
    return list_sources(roots)


def expand(argument: str | Path) -> list[Path]:
    path = Path(argument)
    if path.exists() or not glob.has_magic(str(argument)):
        return [path]
    found = sorted(glob.glob(str(argument), recursive=True), key=os.fsencode)
    if not found:
        raise BadInput("nothing fits the pattern", argument, "no file", "folders, pictures or archives", "check it")
    return [Path(name) for name in found]


def refuse_repeated(roots: list[Path]) -> None:
    seen: dict[Path, Path] = {}
    for root in roots:
        resolved = root.resolve()
        if resolved in seen:
            raise BadInput("a source is given twice", root, f"{seen[resolved]} before it", "every source once")
        seen[resolved] = root


def labels(roots: list[Path]) -> list[str]:
    """For each of several sources the shortest end of its path that no other one has; for a single one nothing.

    So a set does not depend on where its sources are mounted, and equal names in two of them stay apart.
    """
    if len(roots) == 1:
        return [""]
    parts = [root.resolve().parts[1:] for root in roots]
    longest = max(len(path) for path in parts)
    for length in range(1, longest + 1):
        ends = ["/".join(path[-length:]) for path in parts]
        if len(set(ends)) == len(ends):
            return ends
    return [str(root.resolve()) for root in roots]


def _list_root(sources: Sources, number: int, root: Path) -> None:
    suffix = root.suffix.lower()
    if root.is_dir():
        for name, status in walk(root):
            _add_file(sources, number, name, status)
    elif not root.exists():
        raise BadInput("no such source", root, "nothing there", "a folder, a picture, a tar or a zip", "check the path")
    elif suffix in ARCHIVES:
        for name, found in ARCHIVES[suffix](root):
            if isinstance(found, Refused):
                sources.leave_out(number, name, found.kind, found.reason)
            else:
                sources.add(number, name, found.size, found)
    elif suffix in COMPRESSED:
        raise BadInput(
            "a compressed archive",
            root,
            f"a {suffix} file, of which no part can be read without all before it",
            "a plain tar or a zip",
            "decompress it first (gunzip, zstd -d); pictures hardly shrink anyway",
        )
    else:  # a picture by itself: its folder is the source
        sources.roots[number] = root.parent
        sources.labels[number] = sources.labels[number].rpartition("/")[0]
        _add_file(sources, number, os.fsencode(root.name), root.stat())


def _add_file(sources: Sources, number: int, name: bytes, status: os.stat_result | None) -> None:
    if status is None:
        sources.leave_out(number, name, "unreadable", "a link to nothing")
    elif not stat.S_ISREG(status.st_mode):
        sources.leave_out(number, name, "unreadable", "not a regular file")
    elif status.st_size > TOO_LARGE:
        sources.leave_out(number, name, "unreadable", f"{status.st_size:,} bytes, wanted at most {TOO_LARGE:,}")
    else:
        sources.add(number, name, status.st_size, None)


def _list_lines(sources: Sources, number: int, path: Path) -> None:
    """Paths separated by newlines, or by NUL where there is one (find -print0); relative to the current folder."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput("the list cannot be read", path, error.strerror or str(error), "a file of paths") from error
    lines = content.split(b"\0" if b"\0" in content else b"\n")
    for line, name in enumerate(lines, 1):
        name = name.removesuffix(b"\r")
        if not name:
            continue
        try:
            status = os.stat(name)
        except OSError as error:
            where, got = f"{path}, line {line}", f"{as_text(os.fsdecode(name))}: {error.strerror}"
            raise BadInput("a listed picture is missing", where, got, "a path from here", "mend the list") from error
        _add_file(sources, number, name, status)


def walk(root: Path) -> Iterator[tuple[bytes, os.stat_result | None]]:
    """Names (relative to `root`) and states of all files with a picture's suffix, sorted by name; None: a dead link."""
    entered = {_identity(os.stat(root))}
    stack = [(b"", _entries(os.fsencode(root)))]
    while stack:
        folder, entries = stack[-1]
        base, status = next(entries, (b"", None))
        if not base:
            stack.pop()
            continue
        name = folder + base
        if status is not None and stat.S_ISDIR(status.st_mode):
            if _identity(status) not in entered:
                entered.add(_identity(status))
                stack.append((name + b"/", _entries(os.path.join(os.fsencode(root), name))))
        elif is_picture(base):
            yield name, status


def _entries(folder: bytes) -> Iterator[tuple[bytes, os.stat_result | None]]:
    """A folder's visible entries, folders as if their names ended in a slash: the order of whole paths."""
    try:
        with os.scandir(folder) as scan:
            entries = [(entry.name, _status(entry)) for entry in scan if not entry.name.startswith(b".")]
    except OSError as error:
        raise BadInput(
            "a folder cannot be listed",
            os.fsdecode(folder),
            error.strerror or str(error),
            "a folder that this user may read",
            "give the permission, or name the readable folders one by one",
        ) from error
    return iter(sorted(entries, key=lambda entry: entry[0] + b"/" if _is_folder(entry[1]) else entry[0]))


def _is_folder(status: os.stat_result | None) -> bool:
    return status is not None and stat.S_ISDIR(status.st_mode)


def _status(entry: "os.DirEntry[bytes]") -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:  # a link to nothing, or a ring of links
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _has_archives(folder: Path) -> bool:
    return any(path.suffix.lower() in ARCHIVES for path in folder.rglob("*"))
