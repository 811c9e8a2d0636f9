"""Files that are whole or absent: written aside, flushed to the disk, renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import disk_error
from pipeline.remote.place import Place, Remote

PARTIAL = ".partial"


@contextmanager
def write_whole(path: Place) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` only once it is complete and on the disk, or sent and compared.

    Raises BadInput where the disk is full, read-only or forbidden; nothing is left behind under any name then.
    A killed process leaves `path` + ".partial" at most.
    """
    if isinstance(path, Remote):
        with path.write_whole() as file:
            yield file
        return
    partial = path.with_name(path.name + PARTIAL)
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
