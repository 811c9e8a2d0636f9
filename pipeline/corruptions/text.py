"""Random strings written over a picture."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pipeline.corruptions.draws import Generators, Strength
from pipeline.corruptions.glyphs import CHARACTERS, Stencil, stencil
from pipeline.philox import Philox

Floats = NDArray[np.float32]

# The paper gives no sizes and lengths; these are of the order of its figure 3.
SIZES_PX = (10, 32)
LENGTHS = (4, 24)

BLOCK = 8  # strings whose numbers are drawn together
SPARE_STRINGS = 64  # and one more for every SPARE_PIXELS wanted: several times what is needed
SPARE_PIXELS = 32


def text(clean: Tensor, p: Strength, generators: Generators) -> tuple[Tensor, Tensor]:
    """Write over a share `p` in [0, 1] of the pixels. Returns (noisy, covered).

    Strings of random characters, size, place and colour, uniform in [0, 1]^3, one above the other, anti-aliased.
    `covered` is (..., 1, H, W), 1 where a pixel has any ink: round(p * H * W) of them, exactly, each pixel being
    as likely as any other. So the median is `clean` for p < 1/2, and the mode for any p < 1; the mean is neither:
    it is drawn towards grey. Source: Lehtinen et al. 2018, section 3.2.
    """
    if isinstance(generators, Generator):
        layer = write(clean.shape[-2], clean.shape[-1], float(p), generators)
        opacity = torch.from_numpy(layer.opacity)
        noisy = torch.lerp(clean, torch.from_numpy(layer.colours()), opacity)
        return noisy, (opacity > 0).to(clean.dtype)[None]
    assert not isinstance(generators, Philox), "Law.device: strings are drawn in workers"
    shares = torch.as_tensor(p).expand(len(generators), 1, 1, 1).flatten()
    views = [text(*one) for one in zip(clean, shares, generators, strict=True)]
    return torch.stack([noisy for noisy, _ in views]), torch.stack([covered for _, covered in views])


class Layer:
    """What is written on a picture: of every pixel the string on top, and its opacity."""

    def __init__(self, height: int, width: int) -> None:
        self.opacity = np.zeros((height, width), np.float32)
        self.top = np.zeros((height, width), np.int32)
        self.palette = [np.zeros(3, np.float32)]  # of pixels without ink

    def write(self, string: "String", wanted: int) -> int:
        """Add a string; returns how many of the `wanted` pixels without ink it took. It is cut to take no more."""
        mask, window = string.inside(*self.opacity.shape)
        inked = mask > 0
        fresh = inked & (self.opacity[window] == 0)
        count = int(np.count_nonzero(fresh))
        if count > wanted:
            inked = keep(fresh, wanted, string.cut)
        np.copyto(self.opacity[window], mask, where=inked)
        np.copyto(self.top[window], len(self.palette), where=inked)
        self.palette.append(string.colour)
        return min(count, wanted)

    def dot(self, wanted: int, generator: Generator) -> None:
        """Cover that many more pixels, of those that have no ink, each with one opaque colour."""
        free = np.flatnonzero(self.opacity == 0)
        chosen = free[torch.randperm(len(free), generator=generator)[:wanted].numpy()]
        self.opacity.reshape(-1)[chosen] = 1
        self.top.reshape(-1)[chosen] = len(self.palette) + np.arange(wanted)
        self.palette.extend(torch.rand((wanted, 3), generator=generator).numpy())

    def colours(self) -> Floats:
        """(3, H, W), of which only pixels with ink mean anything."""
        palette = np.array(self.palette, np.float32)
        return np.stack([channel.take(self.top) for channel in palette.T.copy()])


def write(height: int, width: int, p: float, generator: Generator) -> Layer:
    """Write until round(p * height * width) pixels have ink; the last string is cut where that is reached.

    Bounded work: as many strings as should do several times over, then single pixels for what is still missing.
    """
    layer = Layer(height, width)
    wanted = round(p * height * width)
    for string in strings(height, width, SPARE_STRINGS + wanted // SPARE_PIXELS, generator) if wanted else ():
        wanted -= layer.write(string, wanted)
        if not wanted:
            return layer
    layer.dot(wanted, generator)
    return layer


class String(NamedTuple):
    """A string's stencil, where its top left corner is, and its colour."""

    stencil: Stencil
    top: int
    left: int
    colour: Floats
    cut: float
    """In [0, 1): where it begins if it must be cut."""

    def inside(self, height: int, width: int) -> tuple[Stencil, tuple[slice, slice]]:
        """The part of the stencil inside a picture, and where that is."""
        top, left = max(self.top, 0), max(self.left, 0)
        part = self.stencil[top - self.top : height - self.top, left - self.left : width - self.left]
        return part, np.s_[top : top + part.shape[0], left : left + part.shape[1]]


def strings(height: int, width: int, count: int, generator: Generator) -> Iterator[String]:
    """Random strings, each at any place where it touches the picture: so borders get as much ink as the middle."""
    for _ in range(0, count, BLOCK):
        numbers = torch.rand((BLOCK, 8 + LENGTHS[1]), generator=generator).numpy()
        characters = (numbers[:, 8:] * len(CHARACTERS)).astype(np.int64)
        for row, line, colour in zip(numbers[:, :5].tolist(), characters, numbers[:, 5:8], strict=True):
            mask = stencil(line[: between(row[1], *LENGTHS)], between(row[0], *SIZES_PX))
            top = between(row[2], 1 - mask.shape[0], height - 1)
            left = between(row[3], 1 - mask.shape[1], width - 1)
            yield String(mask, top, left, colour, row[4])


def between(u: float, low: int, high: int) -> int:
    """A whole number in [low, high] from one in [0, 1)."""
    return low + int(u * (high - low + 1))


def keep(fresh: NDArray[np.bool_], wanted: int, start: float) -> NDArray[np.bool_]:
    """`wanted` of the pixels in `fresh`: consecutive ones in reading direction, cyclic, from a random start.

    Any start is as likely as another, so that none of them is preferred: a plain cut would favour the left border.
    """
    order = np.cumsum(fresh.T).reshape(fresh.T.shape).T - 1  # of the fresh pixels, column by column
    count = int(order[-1, -1]) + 1
    return fresh & ((order - int(start * count)) % count < wanted)
