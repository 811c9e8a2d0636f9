"""The header of a part of an OpenEXR file: its attributes as they lie in the file, and what they say of the pixels."""

import struct
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")
LINES = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)  # of a chunk, by compression
TYPES = ("uint", "half", "float")
TYPE_BYTES = {"uint": 4, "half": 2, "float": 4}
KINDS = ("scanlineimage", "tiledimage", "deepscanline", "deeptile")
REQUIRED = ("channels", "compression", "dataWindow", "displayWindow", "lineOrder")
LIMIT = 1 << 22  # pixels a side


class Damaged(Exception):  # noqa: N818  # turned into BadInput where the file's name is known
    """What is wrong inside a file."""


class Attribute(NamedTuple):
    """A named value of a header, in the bytes of the file."""

    kind: str
    value: bytes


class Window(NamedTuple):
    """A rectangle of pixels, both ends inside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top + 1, self.right - self.left + 1


class Channel(NamedTuple):
    """A channel of a part: its name, type, and how many pixels apart its samples are."""

    name: str
    type: str
    every: tuple[int, int]
    perceptually_linear: bool


@dataclass(frozen=True)
class Header:
    """A part's attributes by name, in the order of the file."""

    attributes: dict[str, Attribute]
    kind: str
    """One of KINDS; of an older single-part file, by its version flags."""

    @property
    def tiled(self) -> bool:
        return self.kind in ("tiledimage", "deeptile")

    @property
    def deep(self) -> bool:
        return self.kind.startswith("deep")

    @property
    def name(self) -> str:
        return self.attributes["name"].value.decode("utf-8", "replace") if "name" in self.attributes else ""

    @cached_property
    def window(self) -> Window:
        """The data window: the pixels that there are."""
        window = Window(*struct.unpack("<4i", self.attributes["dataWindow"].value))
        height, width = window.shape
        if not (0 < height <= LIMIT and 0 < width <= LIMIT):
            raise Damaged(f"a data window of {width} x {height} pixels")
        return window

    @property
    def compression(self) -> int:
        return self.attributes["compression"].value[0]

    @cached_property
    def channels(self) -> list[Channel]:
        data, position, found = self.attributes["channels"].value, 0, []
        while data[position : position + 1] != b"\0":
            end = data.index(b"\0", position) if b"\0" in data[position:] else -1
            kind, linear, *every = struct.unpack_from("<iB3xii", data, end + 1)
            if end < 0 or not 0 <= kind < len(TYPES) or min(every) < 1:
                raise Damaged("the list of channels")
            found.append(Channel(data[position:end].decode(), TYPES[kind], (every[0], every[1]), bool(linear)))
            position = end + 17
        if not found or len({channel.name for channel in found}) < len(found):
            raise Damaged("no channels, or two of one name")
        return found

    @property
    def decoded_bytes(self) -> int:
        height, width = self.window.shape
        return height * width * sum(TYPE_BYTES[channel.type] for channel in self.channels)

    @property
    def chunk_count(self) -> int | None:
        """How many chunks the part must have; None where the compression is newer than this code."""
        height, width = self.window.shape
        if self.tiled:
            across, down, mode = self.tiles
            if mode & 0xF == 0:
                return -(-width // across) * -(-height // down)
        elif self.compression < len(LINES):
            return -(-height // LINES[self.compression])
        if "chunkCount" in self.attributes:
            return int(struct.unpack("<i", self.attributes["chunkCount"].value)[0])
        return None

    @property
    def tiles(self) -> tuple[int, int, int]:
        """Width and height of a tile; the mode, whose lower half is 0 where there are no mipmaps."""
        across, down, mode = struct.unpack("<IIB", self.attributes["tiles"].value)
        if not (0 < across <= LIMIT and 0 < down <= LIMIT):
            raise Damaged(f"tiles of {across} x {down} pixels")
        return across, down, mode

    def with_values(self, **values: bytes) -> "Header":
        """The same with other bytes for some attributes that it has."""
        changed = {name: Attribute(self.attributes[name].kind, value) for name, value in values.items()}
        return replace(self, attributes={**self.attributes, **changed})

    def one_level(self) -> "Header":
        """Without mipmaps, and without a part's number of chunks, which a file of one part need not say."""
        header = replace(self, attributes={k: v for k, v in self.attributes.items() if k != "chunkCount" or self.deep})
        if not self.tiled:
            return header
        across, down, mode = self.tiles
        return header.with_values(tiles=struct.pack("<IIB", across, down, mode & 0xF0))

    def counting(self, chunks: int) -> "Header":
        return self.with_values(chunkCount=struct.pack("<i", chunks))

    def encoded(self) -> bytes:
        parts = []
        for name, (kind, value) in self.attributes.items():
            parts.append(name.encode("utf-8", "surrogateescape") + b"\0" + kind.encode() + b"\0")
            parts.append(struct.pack("<i", len(value)) + value)
        return b"".join([*parts, b"\0"])


def parse_headers(data: bytes, position: int, multi: bool, tiled: bool) -> tuple[list[Header], int]:
    """Every header of a file and where they end. Raises Damaged."""
    headers: list[Header] = []
    while not headers or (multi and data[position : position + 1] != b"\0"):
        header, position = parse_header(data, position, tiled)
        headers.append(header)
    names = [header.name for header in headers]
    if multi and ("" in names or len(set(names)) < len(names)):
        raise Damaged(f"parts without names of their own: {names}")
    return headers, position + multi


def parse_header(data: bytes, position: int, tiled: bool) -> tuple[Header, int]:
    attributes: dict[str, Attribute] = {}
    while data[position : position + 1] != b"\0":
        name, position = _text(data, position)
        kind, position = _text(data, position)
        (size,) = struct.unpack_from("<i", data, position)
        position += 4
        if name in attributes or not 0 <= size <= len(data) - position:
            raise Damaged(f"attribute {name!a}: twice, or of {size} bytes")
        attributes[name] = Attribute(kind, data[position : position + size])
        position += size
    lacking = [name for name in REQUIRED if name not in attributes]
    if lacking:
        raise Damaged(f"a header without {', '.join(lacking)}")
    kind = attributes["type"].value.decode("ascii", "replace") if "type" in attributes else KINDS[tiled]
    if kind not in KINDS or (KINDS.index(kind) % 2 and "tiles" not in attributes):
        raise Damaged(f"a part of type {kind!a}")
    return Header(attributes, kind), position + 1


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.find(b"\0", position, position + 256)
    if end <= position:
        raise Damaged("a header without an end")
    return data[position:end].decode("utf-8", "surrogateescape"), end + 1
