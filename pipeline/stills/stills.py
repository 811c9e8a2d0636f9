"""Files of pictures to be denoised: opened as they are laid out on disk, and written again the same way.

One table of kinds, told apart by content, not by name. Large plain files are mapped, not read: their pixels come from
the disk and go there window by window.
"""

import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.errors import BadInput
from pipeline.picture import Pixels

FLOATS = (np.float16, np.float32, np.float64)
INTEGERS = (np.uint8, np.uint16)


class Kind(Protocol):
    """A family of files."""

    suffixes: tuple[str, ...]

    def fits(self, head: bytes) -> bool:
        """Whether a file that begins so is of this kind."""

    def open(self, path: Path) -> "Stills":
        """Raises BadInput where the file is not one that we can denoise."""

    def create(self, path: Path, source: "Stills") -> Pixels:
        """An array like the source's samples, to be filled; mapped to `path` where the source is mapped."""

    def finish(self, path: Path, samples: Pixels, source: "Stills", suffix: str) -> None:
        """Write the filled array, with all else that the source has, as a file of this suffix."""


@dataclass
class Stills:
    """The pictures of a file."""

    samples: Pixels
    """As laid out in the file: uint8, uint16 or float."""
    view: Callable[[Pixels], tuple[Pixels, Pixels | None]]
    """Of such samples the colours (F, C, H, W), C being 1 or 3, and the transparency (F, 1, H, W), without a copy."""
    kind: Kind
    about: dict[str, Any] = field(default_factory=dict)
    """What else the file says, in its kind's own terms."""
    unpacked: bool = False
    """Whether the samples are mapped to a scratch file, as those in the file are compressed."""

    @property
    def mapped(self) -> bool:
        return isinstance(self.samples, np.memmap)

    @property
    def pixels(self) -> Pixels:
        return self.view(self.samples)[0]


def scratch(shape: tuple[int, ...], dtype: np.dtype) -> Pixels:
    """An array mapped to a file without a name, in the folder for temporary files, that goes away with the array.

    Its whole length is taken at once, as writing to a full disk through a map would end the process.
    """
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, max(1, math.prod(shape) * dtype.itemsize))
        array: Pixels = np.memmap(file, dtype, "w+", shape=shape)
    return array


def take_room(path: Path) -> None:
    """Take the whole of a file's length on the disk: writing through a map to a full one would end the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def forget(samples: Pixels) -> None:
    """Give the memory of a mapped file's pages back; what was written stays."""
    if isinstance(samples, np.memmap):
        held = samples._mmap  # type: ignore[attr-defined]
        if samples.mode != "r":
            samples.flush()
        held.madvise(mmap.MADV_DONTNEED)


def no_channels(count: int, where: object) -> BadInput:
    return BadInput(
        f"a picture of {count} channels",
        where,
        f"{count} channels",
        "1 (grey) or 3 (colour), and one more for transparency",
        "split it into pictures of these",
    )


def no_type(dtype: Any, where: object) -> BadInput:
    return BadInput("samples of a type that is not denoised", where, str(dtype), "uint8, uint16 or float", "convert it")


def check_shape(shape: tuple[int, ...], where: object) -> None:
    if 0 in shape:
        raise BadInput("an empty picture", where, f"shape {shape}", "at least one pixel")


def split_channels(samples: Pixels, where: object) -> tuple[Pixels, Pixels | None]:
    """(F, H, W, S) -> colours (F, C, H, W) and transparency (F, 1, H, W), as views."""
    moved = np.moveaxis(samples, -1, 1)
    count = moved.shape[1]
    if count > 4:
        raise no_channels(count, where)
    colours = 1 if count <= 2 else 3
    return moved[:, :colours], moved[:, colours:] if count > colours else None


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what decoders answer damage with, which is errors of many types, into one message."""
    try:
        yield
    except (BadInput, OSError, MemoryError):
        raise
    except Exception as error:
        raise BadInput(
            "not a readable picture", path, f"{type(error).__name__}: {error}", "a whole file", "replace it"
        ) from error
