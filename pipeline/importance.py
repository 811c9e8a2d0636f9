"""Crops of renders where the noise is: which part of a frame a draw shows, by how noisy its source is there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.radiance import reinhard

CELL = 16  # pixels a side, of what is measured as one


def noise_map(radiance: NDArray[np.generic], exposure: float) -> NDArray[np.float64]:
    """(3, H, W) -> (rows, columns) of cells: the variance of tone-mapped radiance, from differences of neighbours.

    Of one realisation alone, and that the source: a crop that is chosen by what its source shows does not move the
    mean of the targets that go with such a source. Chosen by two realisations' difference it would: next to a dark
    source, bright outliers of the target would be met more often than they are rendered. Edges and textures count as
    noise, which does no harm. After the tone map, as one lamp's outlier would otherwise be all of a frame's noise.
    """
    bent = reinhard(radiance.astype(np.float32) * np.float32(exposure)).mean(axis=0)
    squares = np.zeros(bent.shape)
    squares[:, 1:] += np.diff(bent, axis=1) ** 2
    squares[1:] += np.diff(bent, axis=0) ** 2
    rows, columns = (np.arange(0, length, CELL) for length in bent.shape)
    sums = np.add.reduceat(np.add.reduceat(squares, rows, axis=0), columns, axis=1)
    counts = np.multiply.outer(
        *(np.diff([*edges, length]) for edges, length in zip((rows, columns), bent.shape, strict=True))
    )
    return np.asarray(sums / (4 * counts))


def noisy_place(
    noise: NDArray[np.float64], height: int, width: int, size: int, numbers: Sequence[float]
) -> list[float]:
    """Where to crop, as the two numbers in [0, 1) that `geometry` takes, from three uniform ones.

    The first picks a cell in proportion to its noise; the others a pixel of it, in whose middle the crop is, but for
    the frame's borders.
    """
    total = np.cumsum(noise.ravel())
    if total[-1] <= 0:
        return list(numbers[1:])
    cell = int(np.searchsorted(total, numbers[0] * total[-1], side="right").clip(max=total.size - 1))
    corner = np.unravel_index(cell, noise.shape)
    place = []
    for start, length, within in zip(corner, (height, width), numbers[1:], strict=True):
        room = max(0, length - size)
        first = min(max(int((int(start) + within) * CELL) - size // 2, 0), room)
        place.append((first + 0.5) / (room + 1))
    return place
