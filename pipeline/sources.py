"""Folders of pictures, listed in an order that does not depend on the file system."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.picture import SUFFIXES


@dataclass(frozen=True)
class SourceFile:
    """A picture file: the folder it was found under, its path inside, and its size when it was listed."""

    root: Path
    name: str
    size: int

    @property
    def path(self) -> Path:
        return self.root / self.name


def list_pictures(roots: list[Path]) -> list[SourceFile]:
    """Every picture file below the folders (or the files themselves), sorted by name within each folder.

    Hidden files and folders are passed over; links are followed, a folder met a second time is not entered again.
    Raises BadInput where a folder is missing or no picture is found.
    """
    found = [file for root in roots for file in _list_root(root)]
    if not found:
        raise BadInput(
            "no pictures",
            where=", ".join(map(str, roots)),
            got="no file with a picture's suffix",
            wanted=" ".join(sorted(SUFFIXES)),
            todo="name the folder that holds the pictures; it may be nested",
        )
    return found


def _list_root(root: Path) -> list[SourceFile]:
    if root.is_file():
        return [SourceFile(root.parent, root.name, root.stat().st_size)]
    if not root.is_dir():
        raise BadInput("no such folder", where=root, wanted="a folder of pictures, or a picture", todo="check the path")
    files = [
        SourceFile(root, str(path.relative_to(root)), path.stat().st_size)
        for path in _walk(root)
        if path.suffix.lower() in SUFFIXES
    ]
    return sorted(files, key=lambda file: file.name)


def _walk(root: Path) -> Iterator[Path]:
    entered: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path
