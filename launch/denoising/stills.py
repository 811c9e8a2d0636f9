"""One file of pictures denoised: opened, put through the network window by window, and written as it was found."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from launch.denoiser import Denoiser
from launch.denoising.files import Done, Job, middle
from model.tiling import Window
from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.picture import Pixels, from_unit
from pipeline.stills.kinds import open_stills
from pipeline.stills.stills import Stills, forget

FEW = 4  # tiles that need no bar of their own


class StillsWork:
    """Files of pictures, each opened, denoised and written in one go: a large one is never in memory."""

    note = None

    def __init__(self, denoiser: Denoiser, white: float | None) -> None:
        self.denoiser = denoiser
        self.white = white

    def load(self, job: Job) -> None:
        return None

    def denoise(self, job: Job, loaded: None, show: bool) -> Callable[[], Done]:
        done = denoise_file(self.denoiser, job.sources[0], job.target, self.white, show)
        return lambda: done


def denoise_file(
    denoiser: Denoiser, source: Path, target: Path, white: float | None = None, show: bool = False
) -> Done:
    """Denoise a file into another of the same kind; the other appears when it is whole.

    `white` is the sample value of white, by default 255, 65535 or 1.0. With `show`, a bar on stderr says how far it
    is and how long it will take, where it takes more than a few tiles and somebody may be looking. Raises BadInput
    where the file cannot be denoised or the target cannot be written.
    """
    stills = open_stills(source)
    bounds = Bounds(stills.samples.dtype, white)
    filled = count_not_finite(stills, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(target) as file:
        path = Path(file.name)
        result = stills.kind.create(path, stills)
        copy_transparency(stills, result)
        count = len(stills.pixels) * sum(1 for _ in denoiser.tiles(*stills.pixels.shape[-2:]))
        with tqdm(total=count, desc=source.name, unit="tile", disable=None if show and count > FEW else True) as bar:
            for number in range(len(stills.pixels)):
                denoise_picture(denoiser, stills, result, number, bounds, bar)
        before, after = middle(stills.pixels[0]), middle(stills.view(result)[0][0])
        stills.kind.finish(path, result, stills, target.suffix.lower())
    return Done(filled, bounds.to_unit(before), bounds.to_unit(after))


class Bounds:
    """What the samples of a file mean: the value of white, and how results are rounded."""

    def __init__(self, dtype: np.dtype, white: float | None) -> None:
        self.dtype = dtype
        self.whole = np.issubdtype(dtype, np.integer)
        self.white = white or (float(np.iinfo(dtype).max) if self.whole else 1.0)

    def to_unit(self, pixels: Pixels) -> Tensor:
        """(C, h, w) as in the file -> (3, h, w) float32, white being 1; what is no number filled from beside it."""
        unit = pixels.astype(np.float32) / np.float32(self.white)
        if not self.whole:
            unit = filled_from_neighbours(unit)
        return torch.from_numpy(np.repeat(unit, 3, axis=0) if len(unit) == 1 else unit)

    def from_unit(self, unit: Tensor, channels: int) -> Pixels:
        """The opposite; grey is the mean of what the network gives. Whole numbers are rounded half up and clipped."""
        pixels = unit.numpy()
        if channels == 1:
            pixels = pixels.mean(axis=0, keepdims=True)
        if not self.whole:
            return (pixels * np.float32(self.white)).astype(self.dtype)
        peak = float(np.iinfo(self.dtype).max)
        return from_unit(pixels * np.float32(self.white / peak), 8 * self.dtype.itemsize)


def denoise_picture(
    denoiser: Denoiser, stills: Stills, result: Pixels, number: int, bounds: Bounds, bar: "tqdm[NoReturn]"
) -> None:
    """Denoise one picture of a file row of tiles by row, giving the memory of mapped files back after each."""
    noisy, denoised = stills.pixels[number], stills.view(result)[0][number]
    height, width = noisy.shape[-2:]

    def read(view: Window) -> Tensor:
        return bounds.to_unit(noisy[:, view.top : view.bottom, view.left : view.right])

    rows = groupby(denoiser.tiles(height, width), key=lambda window: window.top)
    for _, row in rows:
        for window, core in denoiser.windows(read, row, (height, width)):
            place = denoised[:, window.top : window.bottom, window.left : window.right]
            place[...] = bounds.from_unit(core, len(noisy))
            bar.update()
        forget(stills.samples)
        forget(result)


def bands(picture: Pixels, rows: int = 512) -> Iterator[slice]:
    for top in range(0, picture.shape[-2], rows):
        yield slice(top, top + rows)


def count_not_finite(stills: Stills, source: Path) -> int:
    """How many samples are NaN or infinite. Raises BadInput where no other is left in one of the pictures."""
    if np.issubdtype(stills.samples.dtype, np.integer):
        return 0
    total = 0
    for picture in stills.pixels:
        bad = sum(int((~np.isfinite(picture[:, band])).sum()) for band in bands(picture))
        if bad == picture.size:
            raise BadInput("a picture without a number in it", source, "NaN or infinity alone", "finite samples")
        total += bad
        forget(stills.samples)
    return total


def filled_from_neighbours(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every sample that is NaN or infinite takes the value of the nearest that is finite, per channel; 0 if none is."""
    bad = ~np.isfinite(unit)
    if not bad.any():
        return unit
    from scipy.ndimage import distance_transform_edt

    unit = unit.copy()
    for channel, missing in zip(unit, bad, strict=True):
        if missing.all():
            channel[...] = 0
        elif missing.any():
            nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
            channel[...] = channel[tuple(nearest)]
    return unit


def copy_transparency(stills: Stills, result: Pixels) -> None:
    alpha, blank = stills.view(stills.samples)[1], stills.view(result)[1]
    if alpha is None or blank is None:
        return
    for band in bands(alpha):
        blank[..., band, :] = alpha[..., band, :]
        forget(stills.samples)
        forget(result)
