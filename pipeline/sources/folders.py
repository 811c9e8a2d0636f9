"""Folders walked, here and elsewhere: every file with a picture's suffix, in the order of whole names."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.remote.place import Entry, Remote
from pipeline.sources.members import is_hidden, is_picture, is_source

DEEPEST = 64  # folders in one another; a server whose links lead in a ring has no end
AT_ONCE = 16  # questions about single files


def walk(root: Path, slices: bool = False) -> Iterator[tuple[bytes, os.stat_result | None]]:
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
        elif is_source(base, slices):
            yield name, status


def walk_remote(root: Remote) -> Iterator[tuple[bytes, int | None]]:
    """The same elsewhere, folder by folder, with sizes; None where the server does not say."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        stack = [(b"", _remote_entries(root, threads))]
        while stack:
            folder, entries = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                continue
            name = folder + os.fsencode(entry.name)
            if not entry.folder:
                yield name, entry.size
            elif len(stack) > DEEPEST:
                raise BadInput("folders without end", root, name.decode(errors="replace")[:200], f"at most {DEEPEST}")
            else:
                stack.append((name + b"/", _remote_entries(root / os.fsdecode(name), threads)))


def _remote_entries(folder: Remote, threads: ThreadPoolExecutor) -> Iterator[Entry]:
    def told(entry: Entry) -> Entry:
        unknown = entry.size is None and not entry.folder
        return entry._replace(size=(folder / entry.name).stat().st_size) if unknown else entry

    found = [e for e in folder.entries() if not is_hidden(os.fsencode(e.name))]
    wanted = [e for e in found if e.folder or is_picture(os.fsencode(e.name))]
    wanted.sort(key=lambda e: os.fsencode(e.name + "/" if e.folder else e.name))
    return iter(list(threads.map(told, wanted)))


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
