"""Arrays: (H, W), (C, H, W), (H, W, C), (F, H, W), (F, C, H, W) or (F, H, W, C) in a .npy file."""

from pathlib import Path

import numpy as np

from pipeline.errors import BadInput
from pipeline.picture import Pixels
from pipeline.stills.stills import (
    FLOATS,
    INTEGERS,
    Stills,
    check_shape,
    no_channels,
    no_type,
    readable,
    split_channels,
    take_room,
)

CHANNELS = (1, 2, 3, 4)


class NpyKind:
    suffixes: tuple[str, ...] = (".npy",)

    def fits(self, head: bytes) -> bool:
        return head.startswith(b"\x93NUMPY")

    def open(self, path: Path) -> Stills:
        with readable(path):
            samples: Pixels = np.lib.format.open_memmap(path, mode="r")
        if samples.dtype not in (*FLOATS, *INTEGERS):
            raise no_type(samples.dtype, path)
        check_shape(samples.shape, path)
        place = channel_axis(samples.shape, path)

        def view(samples: Pixels) -> tuple[Pixels, Pixels | None]:
            frames = samples if samples.ndim == 4 or (samples.ndim == 3 and place is None) else samples[None]
            if place is None:
                frames = frames[..., None]
            elif place == samples.ndim - 3:
                frames = np.moveaxis(frames, 1, -1)
            return split_channels(frames, path)

        return Stills(samples, view, self)

    def create(self, path: Path, source: Stills) -> Pixels:
        array: Pixels = np.lib.format.open_memmap(path, "w+", source.samples.dtype, source.samples.shape)
        take_room(path)
        return array

    def finish(self, path: Path, samples: Pixels, source: Stills, suffix: str) -> None:
        assert isinstance(samples, np.memmap)
        samples.flush()
        if suffix != ".npy":
            raise BadInput("an array under another name", path, suffix, ".npy", "rename it")


def channel_axis(shape: tuple[int, ...], where: object) -> int | None:
    """Which axis is colour: the first after the frames if it has 1 to 4 entries, else the last if so, else none."""
    if len(shape) == 2:
        return None
    if len(shape) in (3, 4):
        first = len(shape) - 3
        for axis in (first, len(shape) - 1):
            if shape[axis] in CHANNELS:
                return axis
        if len(shape) == 3:
            return None
        raise no_channels(shape[-1], where)
    raise BadInput("an array that is no picture", where, f"shape {shape}", "2 to 4 axes, as (F, C, H, W)")
