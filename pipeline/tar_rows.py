"""One WebDataset tar that others wrote -> rows of the sample table: where its pictures lie, and what they are."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput, disk_error
from pipeline.index import SAMPLE, LeftOut, crc32
from pipeline.picture import SUFFIXES, decode
from pipeline.sharding.header import Header as Shape
from pipeline.sharding.header import read_header
from pipeline.sharding.slices import is_picture_npy
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import PIXELS, StorageConfig, from_npy
from pipeline.sources.listing import as_text
from pipeline.sources.members import Refused, is_hidden
from pipeline.sources.tar_members import BLOCK, Header, TarFile, refused, webdataset_key

AHEAD = 1 << 22  # bytes that are read at a time
MEASURED = 256  # one picture of so many, and the first of each tar, is decoded to count its levels
LEAST = StorageConfig().min_side
ARRAY = PIXELS.encode()
EXTENSIONS = {*(suffix.removeprefix(".").encode() for suffix in SUFFIXES), ARRAY}


@dataclass
class TarRows:
    """What a tar holds."""

    bytes: int
    mtime_ns: int
    """Before it was read."""
    rows: list[tuple[int, ...]] = field(default_factory=list)
    """Of the sample table, but for the number of the shard, which is 0."""
    left_out: list[LeftOut] = field(default_factory=list)
    levels: Levels = field(default_factory=Levels)

    @property
    def table(self) -> NDArray[np.void]:
        return np.array(self.rows, SAMPLE)


def read_rows(path: Path) -> TarRows:
    """Go through a tar once. Raises BadInput where it is damaged, cut short or cannot be read."""
    try:
        with sequential(path) as (pread, status):
            found = TarRows(status.st_size, status.st_mtime_ns)
            headers = TarFile(pread, path).headers(0, status.st_size)
            for key, group in groupby(headers, key=lambda header: webdataset_key(header.name)):
                add_sample(found, path.name, key, list(group), pread)
            return found
    except OSError as error:
        raise disk_error(error, path) from error


class Window:
    """A file that is gone through from its beginning, in large pieces."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.start, self.data = descriptor, 0, b""

    def __call__(self, size: int, offset: int) -> bytes:
        """As os.pread."""
        begin = offset - self.start
        if begin < 0 or begin + size > len(self.data):
            self.start, self.data = offset, os.pread(self.descriptor, max(size, AHEAD), offset)
            begin = 0
        return self.data[begin : begin + size]


@contextmanager
def sequential(path: Path) -> Iterator[tuple[Window, os.stat_result]]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield Window(descriptor), os.fstat(descriptor)
    finally:
        os.close(descriptor)


def add_sample(found: TarRows, tar: str, key: bytes, members: Sequence[Header], pread: Window) -> None:
    """A sample's row, or why it has none. Folders and hidden members, such as those of macOS, are no samples."""
    members = [member for member in members if member.kind != b"5" and not is_hidden(member.name)]
    if not members:
        return
    picture = the_picture(members)
    if isinstance(picture, Refused):
        found.left_out.append(LeftOut(f"{tar}/{as_text(os.fsdecode(key))}", picture.kind, picture.reason))
        return
    title = f"{tar}/{as_text(os.fsdecode(picture.name))}"
    if lost := refused(picture):
        found.left_out.append(LeftOut(title, lost.kind, lost.reason))
        return
    block = pread(BLOCK + picture.size, picture.offset - BLOCK)
    if len(block) != BLOCK + picture.size:
        raise BadInput("a tar is being changed", title, "it ends within a picture", "a tar that nobody is writing")
    data = block[BLOCK:]
    decoded = extension(picture) == ARRAY
    try:
        shape = shape_of(data, title, decoded, found.levels, len(found.rows) % MEASURED == 0)
    except BadInput as error:
        what, _, got, wanted, _ = error.args
        found.left_out.append(LeftOut(title, "unreadable", f"{what}: {got}, wanted {wanted}"))
        return
    if min(shape.height, shape.width) < LEAST:
        reason = f"{shape.width} x {shape.height} pixels, wanted at least {LEAST} on each side"
        found.left_out.append(LeftOut(title, "small", reason))
        return
    row = (picture.offset, picture.size, 0, crc32(block), shape.height, shape.width)
    found.rows.append((*row, shape.channels, shape.bits, int(decoded)))


def the_picture(members: Sequence[Header]) -> Header | Refused:
    """The one member KEY.EXTENSION; where there is none, the one KEY.WORD.EXTENSION, such as KEY.image.png."""
    plain = [member for member in members if extension(member) in EXTENSIONS]
    fit = plain or [member for member in members if extension(member).rpartition(b".")[2] in EXTENSIONS]
    if len(fit) == 1:
        return fit[0]
    names = [as_text(os.fsdecode(extension(member))) for member in fit or members]
    told = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in Counter(names).items())
    return Refused("several", f"several pictures: {told}") if fit else Refused("pictureless", f"no picture: {told}")


def extension(member: Header) -> bytes:
    """As webdataset has it: all that follows the first dot of the name's last part, in small letters."""
    return member.name.rpartition(b"/")[2].partition(b".")[2].lower()


def shape_of(data: bytes, where: str, decoded: bool, levels: Levels, measure: bool) -> Shape:
    """Sizes of a picture: by its header where that says all, else decoded. Raises BadInput where it is none."""
    shape = None if decoded or measure else read_header(data)
    if shape is not None:
        return shape
    if decoded and not is_stored_pixels(data):
        wanted = "(1 or 3, H, W) of 8 or 16 bits, as numpy.save writes it; others are made so by `n2n shard`"
        raise BadInput("an array of another kind", where, header_line(data), wanted)
    pixels = from_npy(data, where) if decoded else decode(data, where).pixels
    if measure:
        levels.add(pixels)
    return Shape(pixels.shape[1], pixels.shape[2], len(pixels), 8 * pixels.itemsize)


def is_stored_pixels(data: bytes) -> bool:
    """Whether it is what the reader maps: little-endian and in C's order."""
    line = header_line(data)
    return is_picture_npy(data) and "'fortran_order': False" in line and ("'|u1'" in line or "'<u2'" in line)


def header_line(data: bytes) -> str:
    """What a .npy says of itself."""
    return data[10:256].partition(b"\n")[0].decode("latin-1").strip() if data.startswith(b"\x93NUMPY") else "no .npy"
