"""Where a view is cut from a picture: geometry shared by both views of a pair."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

Pixels = NDArray[Any]


def random_crop(pixels: Pixels, size: int, flips: bool, generator: Generator) -> Pixels:
    """A square of `size` pixels out of (C, H, W), uniformly placed, then mirrored each way with probability 1/2.

    Always takes the same four numbers from the generator, so that what follows does not depend on the picture.
    """
    return cropped_at(pixels, size, flips, random_place(generator))


def random_place(generator: Generator) -> list[float]:
    """Four numbers in [0, 1): where to cut from top and left, and whether to mirror rows and columns."""
    numbers: list[float] = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    return numbers


def cropped_at(pixels: Pixels, size: int, flips: bool, place: Sequence[float]) -> Pixels:
    """The crop at that place: of equally large pictures always the same part."""
    return np.ascontiguousarray(view_at(pixels, size, flips, place))


def view_at(pixels: Pixels, size: int, flips: bool, place: Sequence[float]) -> Pixels:
    """The same without a copy, where the picture is large enough."""
    pixels = reflect_to(pixels, size)
    _, height, width = pixels.shape
    top, left = corner(height, width, size, place)
    _, _, flip_rows, flip_columns = place
    crop = pixels[:, top : top + size, left : left + size]
    if flips and flip_rows < 0.5:
        crop = crop[:, ::-1]
    if flips and flip_columns < 0.5:
        crop = crop[:, :, ::-1]
    return crop


def corner(height: int, width: int, size: int, place: Sequence[float]) -> tuple[int, int]:
    """Top and left of the crop at that place; (0, 0) where the picture is of its size."""
    return int(place[0] * (height - size + 1)), int(place[1] * (width - size + 1))


def reflect_to(pixels: Pixels, size: int) -> Pixels:
    """Enlarge a picture smaller than `size` by reflection, neither rejected nor stretched."""
    height, width = pixels.shape[1:]
    if height >= size and width >= size:
        return pixels
    return np.pad(pixels, ((0, 0), (0, max(0, size - height)), (0, max(0, size - width))), mode="reflect")
