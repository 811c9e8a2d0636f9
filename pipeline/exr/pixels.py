"""The pixels of a part of an OpenEXR file, by the OpenEXR library, with its traps closed.

Both directions let go of Python's lock while the library works, so threads read and write several files at once.
"""

import io
from collections.abc import Mapping

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.exr.container import Container, parse
from pipeline.exr.header import Header

Channels = dict[str, NDArray[np.generic]]

NUMPY_TYPES: dict[str, type[np.generic]] = {"half": np.float16, "float": np.float32, "uint": np.uint32}
HALF_MAX = 65504.0
ZIP, ZIPS = 3, 2  # numbers of compressions
# These change pixels. Of a part that is written again, the channels that nobody meant to change would change too;
# B44 and PXR24 give the same pixels again for what they gave once, the others do not. Newer ones are not known.
DRIFTING = (8, 9)  # DWAA, DWAB
LAST_KNOWN = 9
LINE_ORDERS = (OpenEXR.INCREASING_Y, OpenEXR.DECREASING_Y, OpenEXR.INCREASING_Y)  # of random order, the table's


def decode(file: Container, part: int) -> Channels:
    """Every channel of a part, (H, W) of its data window in its own type; subsampled ones are smaller.

    Raises BadInput where the library cannot decode all of it: it says so on its own output alone and leaves the part
    out, so what is there is compared with the header.
    """
    header = file.headers[part]
    if header.deep:
        raise BadInput("deep pixels", place(file, part), header.kind, "flat pixels", "flatten the file first")
    try:
        read = OpenEXR.File(io.BytesIO(file.alone(part)), separate_channels=True)
        found = {name: channel.pixels for name, channel in read.channels().items()} if read.parts else {}
    except (RuntimeError, ValueError, MemoryError, UnicodeDecodeError) as error:
        raise damaged(file, part, str(error)) from error
    height, width = header.window.shape
    for channel in header.channels:
        pixels = found.get(channel.name)
        if pixels is None:
            raise damaged(file, part, "chunks that do not decompress")
        across, down = channel.every
        full = pixels.shape == (height, width) or (across > 1 or down > 1)
        if not full or pixels.dtype != NUMPY_TYPES[channel.type]:
            raise damaged(file, part, f"channel {channel.name} decoded as {pixels.dtype} {pixels.shape}")
    return {channel.name: found[channel.name] for channel in header.channels}


def damaged(file: Container, part: int, got: str) -> BadInput:
    wanted = "chunks as they were written"
    return BadInput("damaged pixels in an OpenEXR file", place(file, part), got, wanted, "render or copy it again")


def place(file: Container, part: int) -> str:
    return f"{file.where}, part {file.headers[part].name or part}" if len(file.headers) > 1 else file.where


def with_channels(file: Container, part: int, decoded: Channels, changed: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The file with some channels of a part replaced, each in the type that it had.

    `decoded` is what `decode` gave. Other parts and all attributes are kept byte for byte, the other channels of the
    part bit for bit. Two attributes change where they must: mipmaps are dropped, as they would show the old pixels,
    and a part in a compression that would touch the other channels is stored in ZIP. Raises BadInput where a value
    does not fit its channel's type, or where the library cannot write the part.
    """
    header = file.headers[part].one_level()
    if header.compression in DRIFTING or header.compression > LAST_KNOWN:
        header = header.with_values(compression=bytes([ZIP]))
    if any(channel.every != (1, 1) for channel in header.channels):
        raise BadInput("subsampled channels", place(file, part), "", "full resolution", "convert the file to RGB first")
    linear = {channel.name: channel.perceptually_linear for channel in header.channels}
    pixels = {}
    for channel in header.channels:
        values = decoded[channel.name]
        if channel.name in changed:
            values = fitted(changed[channel.name], NUMPY_TYPES[channel.type], f"{place(file, part)}, {channel.name}")
        # The library reads an array that is not contiguous as if it were, and writes wrong pixels.
        pixels[channel.name] = OpenEXR.Channel(np.ascontiguousarray(values), 1, 1, linear[channel.name])
    written = parse(_write(layout(header), pixels), "what the library wrote")
    chunks = [written.data[chunk.start : chunk.end] for chunk in written.chunks[0]]
    kept = {name: header.attributes[name].value for name in ("compression", "tiles") if name in header.attributes}
    header = file.headers[part].with_values(**kept)
    if "chunkCount" in header.attributes:
        header = header.counting(len(chunks))
    return file.with_part(part, header, chunks)


def layout(header: Header) -> dict[str, object]:
    """What decides how pixels lie in a file, for the library to do as the original did."""
    window = header.window
    said: dict[str, object] = {
        "type": OpenEXR.tiledimage if header.tiled else OpenEXR.scanlineimage,
        "compression": OpenEXR.Compression(header.compression),
        "lineOrder": LINE_ORDERS[header.attributes["lineOrder"].value[0]],
        "dataWindow": (np.array(window[:2], np.int32), np.array(window[2:], np.int32)),
        "displayWindow": (np.array(window[:2], np.int32), np.array(window[2:], np.int32)),
    }
    if header.tiled:
        tiles = OpenEXR.TileDescription()
        tiles.xSize, tiles.ySize, _ = header.tiles
        tiles.mode = OpenEXR.ONE_LEVEL
        said["tiles"] = tiles
    return said


def encode(channels: Mapping[str, NDArray[np.generic]], attributes: Mapping[str, object] | None = None) -> bytes:
    """A new file of one part in ZIP: channels (H, W) of half, float or uint, and attributes as the library has them.

    Half pictures that overflow are refused, not written as infinity: see `as_half`.
    """
    said = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **(attributes or {})}
    pixels = {name: OpenEXR.Channel(np.ascontiguousarray(values), 1, 1) for name, values in channels.items()}
    return _write(said, pixels)


def _write(said: dict[str, object], pixels: dict[str, OpenEXR.Channel]) -> bytes:
    file = io.BytesIO()
    OpenEXR.File(said, pixels).write(file)
    return file.getvalue()


def fitted(values: NDArray[np.generic], kind: type[np.generic], where: str) -> NDArray[np.generic]:
    """Values in a channel's type. Raises BadInput where half would turn finite values into infinity."""
    if kind is np.float16 and values.dtype != np.float16:
        return as_half(values, where)
    return values.astype(kind)


def as_half(values: NDArray[np.generic], where: str) -> NDArray[np.float16]:
    """Rounded to half. Values up to 65,520 round to its largest; beyond, it has none."""
    with np.errstate(over="ignore"):
        half: NDArray[np.float16] = values.astype(np.float16)
    lost = int((np.isinf(half) & np.isfinite(values)).sum())
    if lost:
        peak = float(np.abs(np.where(np.isfinite(values), values, 0)).max())
        got = f"{lost} values up to {peak:g}"
        raise BadInput("values too large for half", where, got, f"at most {HALF_MAX:g}", "store this buffer as float")
    return half
