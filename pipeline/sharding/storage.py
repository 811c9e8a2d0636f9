"""How pictures are stored: their own bytes, or decoded pixels, scaled, cut or grey if wanted."""

import io
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from pipeline.errors import BadInput
from pipeline.picture import Pixels
from pipeline.sharding.header import Header

STORED_AS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}  # other kinds are stored decoded
PIXELS = "npy"
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, of encoded values, as every library's greyscale of a photograph


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """What becomes of a picture. A picture that an option changes is stored decoded; all others as `store` says."""

    store: Literal["source", "pixels"] = "source"
    """source keeps the file's bytes; pixels stores (C, H, W) .npy, five times the bytes, cropped without decoding."""
    min_side: int = 2
    """Pictures with a shorter side are left out. At 1 pixel there is nothing to continue by reflection."""
    max_side: int = 0
    """Larger pictures are scaled down to this longer side by averaging areas; 0: none are."""
    tile: int = 0
    """Larger pictures are cut into equal parts of at most this side; 0: none are."""
    grey: bool = False
    """Colour becomes greyscale."""
    check: Literal["decode", "header"] = "decode"
    """decode finds every unreadable picture; header reads the structure alone: files cut short, or not pictures."""

    def __post_init__(self) -> None:
        for name, least in (("min_side", 2), ("max_side", 8), ("tile", 8)):
            value = getattr(self, name)
            if value < least and (value or name == "min_side"):
                flag = "--" + name.replace("_", "-")
                raise BadInput(f"{flag} is too small", "the command line", str(value), f"at least {least}")

    def changes(self, header: Header) -> bool:
        """Whether a picture's pixels or cut will be other than the file's."""
        longest = max(header.height, header.width)
        return bool(
            (self.max_side and longest > self.max_side)
            or (self.tile and longest > self.tile)
            or (self.grey and header.channels > 1)
        )

    def extension(self, name: str, header: Header) -> str:
        if self.store == "pixels" or self.changes(header):
            return PIXELS
        return STORED_AS.get(os.path.splitext(name)[1].lower(), PIXELS)


@dataclass(frozen=True)
class Tile:
    """A part of a picture, or all of it; where it was cut, in pixels of the (scaled) picture."""

    pixels: Pixels
    top: int
    left: int


def fit(pixels: Pixels, config: StorageConfig) -> list[Tile]:
    """Greyscale, then scaling, then cutting, as configured. (C, H, W) of 8 or 16 bits."""
    if config.grey and len(pixels) > 1:
        pixels = to_grey(pixels)
    if config.max_side and max(pixels.shape[1:]) > config.max_side:
        pixels = scale_down(pixels, config.max_side)
    return list(cut(pixels, config.tile)) if config.tile else [Tile(pixels, 0, 0)]


def to_grey(pixels: Pixels) -> Pixels:
    luma = np.tensordot(np.asarray(LUMA), pixels.astype(np.float64), axes=1)
    return np.floor(luma + 0.5).astype(pixels.dtype)[None]


def scale_down(pixels: Pixels, longest: int) -> Pixels:
    """Each new pixel is the mean of the area it covers, rounded half up: no ringing, and noise falls as it must."""
    height, width = pixels.shape[1:]
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    planes = [Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BOX) for plane in pixels]
    return np.floor(np.stack([np.asarray(plane) for plane in planes]) + 0.5).astype(pixels.dtype)


def cut(pixels: Pixels, side: int) -> Iterator[Tile]:
    """Parts as equal as whole pixels allow, so that none is a sliver."""
    rows, columns = (edges(length, side) for length in pixels.shape[1:])
    for top, bottom in rows:
        for left, right in columns:
            yield Tile(pixels[:, top:bottom, left:right], top, left)


def edges(length: int, side: int) -> list[tuple[int, int]]:
    """A length cut into parts of at most `side`, as equal as whole numbers allow."""
    parts = -(-length // side)
    edges = [length * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(edges))


def as_npy(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(pixels))
    return file.getvalue()


def load_npy(data: bytes, where: object) -> Pixels:
    try:
        pixels: Pixels = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadInput("not readable pixels", where, str(error), "a .npy of (C, H, W)") from error
    return pixels


def from_npy(data: bytes, where: object) -> Pixels:
    """Pixels of a set that is sharded again. Raises BadInput where they are no picture of 8 or 16 bits."""
    pixels = load_npy(data, where)
    if pixels.ndim != 3 or len(pixels) not in (1, 3) or pixels.dtype not in (np.uint8, np.uint16):
        raise BadInput("not a picture", where, f"{pixels.dtype} {pixels.shape}", "(1 or 3, H, W), 8 or 16 bits")
    return pixels
