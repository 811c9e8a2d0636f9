"""An OpenEXR file as parts of attributes and compressed chunks, none of which is decoded here.

The OpenEXR library decodes and encodes pixels. It cannot be trusted with the rest of a file: it leaves out a part
that it cannot decode and moves the later ones up, it cannot write attributes of types that it does not know, and it
recompresses what nobody has touched. So a file is taken apart here, each part is given to the library as a file of
its own, and what is not changed is written again byte for byte.
Source: OpenEXR File Layout, openexr.com (magic, version flags, attributes, offset tables, chunks).
"""

import itertools
import struct
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import BadInput
from pipeline.exr.header import Damaged, Header, parse_headers

MAGIC = b"\x76\x2f\x31\x01"
TILED, LONG_NAMES, NON_IMAGE, MULTI_PART = 0x200, 0x400, 0x800, 0x1000  # flags of the version field
MAX_BYTES = 16 << 30  # decoded, of one part: a frame of 16384 x 8192 with 30 float channels


class Chunk(NamedTuple):
    """Some lines or a tile: where its bytes are, from its coordinates on, without a part number."""

    start: int
    end: int


@dataclass(frozen=True)
class Container:
    """A file taken apart."""

    data: bytes
    version: int
    headers: list[Header]
    chunks: list[list[Chunk]]
    """Of each part, in the order of its offset table."""
    where: str

    def alone(self, part: int) -> bytes:
        """One part as a file of its own, at full resolution only, for the library to decode."""
        header = self.headers[part].one_level()
        flags = self.version & LONG_NAMES | (TILED if header.tiled and not header.deep else 0)
        flags |= NON_IMAGE if header.deep else 0
        chunks = [self.data[chunk.start : chunk.end] for chunk in self.full_resolution(part)]
        return assemble(2 | flags, [header], [chunks])

    def full_resolution(self, part: int) -> list[Chunk]:
        """The chunks of a part without those of its mipmaps."""
        if not self.headers[part].tiled:
            return self.chunks[part]
        return [chunk for chunk in self.chunks[part] if self.data[chunk.start + 8 : chunk.start + 16] == bytes(8)]

    def with_part(self, part: int, header: Header, chunks: list[bytes]) -> bytes:
        """The whole file with one part's chunks replaced; all else byte for byte."""
        headers = [*self.headers[:part], header, *self.headers[part + 1 :]]
        every = [[self.data[chunk.start : chunk.end] for chunk in chunks] for chunks in self.chunks]
        every[part] = chunks
        return assemble(self.version, headers, every)


def parse(data: bytes, where: object) -> Container:
    """Take a file apart. Raises BadInput where it is no OpenEXR file, cut short, unfinished or damaged."""
    try:
        if data[:4] != MAGIC:
            raise Damaged("no OpenEXR file")
        (version,) = struct.unpack_from("<I", data, 4)
        if version & 0xFF != 2 or version & ~(0xFF | TILED | LONG_NAMES | NON_IMAGE | MULTI_PART):
            raise Damaged(f"version field {version:#x}")
        multi = bool(version & MULTI_PART)
        headers, position = parse_headers(data, 8, multi, bool(version & TILED))
        chunks = []
        for number, header in enumerate(headers):
            offsets = read_offsets(data, position, header, multi)
            position += 8 * len(offsets)
            chunks.append([read_chunk(data, offset, header, number if multi else None) for offset in offsets])
        refuse_overlaps(chunks, position)
    except (Damaged, struct.error, UnicodeDecodeError) as error:
        raise BadInput(
            "a damaged OpenEXR file", where, str(error), "a whole file", "render or copy it again"
        ) from error
    return Container(data, version, headers, chunks, str(where))


def read_offsets(data: bytes, position: int, header: Header, multi: bool) -> list[int]:
    """The offset table of a part.

    Its length follows from the header, except for compressions that this code does not know; theirs ends where the
    first chunk begins.
    """
    count = header.chunk_count
    if count is None:
        if multi:
            raise Damaged(f"part {header.name} does not say how many chunks it has")
        count, least = 0, len(data)
        while position + 8 * count < least:
            least = min(least, *struct.unpack_from("<Q", data, position + 8 * count))
            count += 1
    if not 0 < count <= (len(data) - position) // 8:
        raise Damaged(f"{count} chunks in {len(data):,} bytes")
    if header.decoded_bytes > MAX_BYTES:
        raise Damaged(f"{header.decoded_bytes:,} bytes of pixels, more than {MAX_BYTES:,}")
    offsets = list(struct.unpack_from(f"<{count}Q", data, position))
    missing = offsets.count(0)
    if missing:
        raise Damaged(f"{missing} of {count} chunks were never written: the render was stopped")
    return offsets


def read_chunk(data: bytes, offset: int, header: Header, part: int | None) -> Chunk:
    """Where a chunk ends, by the sizes it begins with."""
    if offset >= len(data):
        raise Damaged(f"cut short: a chunk begins at byte {offset:,}, the file ends at {len(data):,}")
    start = offset
    if part is not None:
        (number,) = struct.unpack_from("<i", data, offset)
        if number != part:
            raise Damaged(f"a chunk of part {number} in the table of part {part}")
        start += 4
    sizes = start + (16 if header.tiled else 4)
    if header.deep:
        table, packed, _ = struct.unpack_from("<3Q", data, sizes)
        end = sizes + 24 + table + packed
    else:
        (size,) = struct.unpack_from("<I", data, sizes)
        end = sizes + 4 + size
    if end > len(data):
        raise Damaged(f"cut short: a chunk ends at byte {end:,}, the file at {len(data):,}")
    return Chunk(start, end)


def refuse_overlaps(chunks: list[list[Chunk]], begin: int) -> None:
    ordered = sorted(itertools.chain.from_iterable(chunks))
    if ordered and ordered[0].start < begin:
        raise Damaged("a chunk inside the header")
    for before, after in itertools.pairwise(ordered):
        if after.start < before.end:
            raise Damaged(f"two chunks share byte {after.start:,}")


def assemble(version: int, headers: list[Header], chunks: list[list[bytes]]) -> bytes:
    """A file of headers and chunks, with new offset tables; chunks lie part after part, in the tables' order."""
    multi = bool(version & MULTI_PART)
    if multi:
        headers = [header.counting(len(pieces)) for header, pieces in zip(headers, chunks, strict=True)]
    head = MAGIC + struct.pack("<I", version) + b"".join(header.encoded() for header in headers)
    head += b"\0" if multi else b""
    position = len(head) + 8 * sum(map(len, chunks))
    tables, body = [], []
    for number, pieces in enumerate(chunks):
        for piece in pieces:
            whole = struct.pack("<i", number) + piece if multi else piece
            tables.append(position)
            body.append(whole)
            position += len(whole)
    return b"".join([head, struct.pack(f"<{len(tables)}Q", *tables), *body])
