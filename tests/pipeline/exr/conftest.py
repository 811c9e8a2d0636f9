"""OpenEXR files as renderers write them."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import OpenEXR
import pytest

from pipeline.exr.container import parse
from pipeline.exr.header import Attribute


def planes(rng: np.random.Generator, names: str, shape: tuple[int, int] = (48, 64), kind: Any = np.float16) -> Any:
    """A channel a name, with a scale that tells them apart."""
    return {name: ((number + 1) * rng.random(shape)).astype(kind) for number, name in enumerate(names.split())}


def windowed(left: int, top: int, height: int, width: int) -> dict[str, Any]:
    low, high = [left, top], [left + width - 1, top + height - 1]
    return {
        "dataWindow": (np.array(low, np.int32), np.array(high, np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([63, 47], np.int32)),
    }


def tiling(side: int) -> OpenEXR.TileDescription:
    tiles = OpenEXR.TileDescription()
    tiles.xSize = tiles.ySize = side
    tiles.mode = OpenEXR.ONE_LEVEL
    return tiles


Parts = list[tuple[dict[str, Any], dict[str, Any]]]


def written(parts: Parts) -> bytes:
    """A file of parts, by the library itself."""
    file = io.BytesIO()
    OpenEXR.File([OpenEXR.Part(dict(header), dict(channels)) for header, channels in parts]).write(file)
    return file.getvalue()


@pytest.fixture
def make_exr() -> Callable[[Parts], bytes]:
    return written


def with_attribute(data: bytes, part: int, name: str, kind: str, value: bytes) -> bytes:
    """The file with an attribute more, of whatever type."""
    file = parse(data, "a test file")
    file.headers[part].attributes[name] = Attribute(kind, value)
    chunks = [data[chunk.start : chunk.end] for chunk in file.chunks[part]]
    return file.with_part(part, file.headers[part], chunks)


@pytest.fixture
def multi_layer() -> bytes:
    """One part: half radiance and albedo, float normal and depth, an uint id, an attribute of a studio's own type."""
    rng = np.random.default_rng(5)
    channels = {
        **planes(rng, "R G B A albedo.R albedo.G albedo.B"),
        **planes(rng, "N.X N.Y N.Z Z", kind=np.float32),
        "crypto00.R": rng.integers(0, 2**32, (48, 64), dtype=np.uint32).view(np.float32),
        "id": rng.integers(0, 2**32, (48, 64), dtype=np.uint32),
    }
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "owner": "a studio"}
    data = written([(header, channels)])
    data = with_attribute(data, 0, "renderFarm", "studiotype", b"\0\1\2\3")
    return with_attribute(data, 0, "framesPerSecond", "rational", struct.pack("<iI", 24000, 1001))


@pytest.fixture
def multi_part() -> bytes:
    """A tiled part with a window of its own, a lossy one, a float one and a deep one."""
    rng = np.random.default_rng(6)
    scan = OpenEXR.scanlineimage
    deep = np.empty((48, 64), object)
    for row in range(48):
        for column in range(64):
            deep[row, column] = rng.random(1 + (row + column) % 3).astype(np.float32)
    # Noise would not compress; chunks that do not are stored as they are, and damage in them is not seen by anyone.
    normal = {name: np.round(4 * values) / 4 for name, values in planes(rng, "X Y Z", kind=np.float32).items()}
    window = windowed(-4, 3, 40, 60)
    return written(
        [
            (
                {"name": "beauty", "type": OpenEXR.tiledimage, "tiles": tiling(32), **window},
                planes(rng, "R G B", (40, 60)),
            ),
            ({"name": "albedo", "type": scan, "compression": OpenEXR.DWAA_COMPRESSION}, planes(rng, "R G B")),
            (
                {"name": "normal", "type": scan, "compression": OpenEXR.PIZ_COMPRESSION},
                normal,
            ),
            ({"name": "deep", "type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}, {"Z": deep}),
        ]
    )
