"""Where the noise is: measured in the source alone, so that choosing by it moves no mean."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.geometry import cropped_at
from pipeline.importance import CELL, noise_map, noisy_place


def test_the_map_is_the_variance_of_white_noise_and_blind_to_slopes() -> None:
    rng = np.random.default_rng(0)
    slope = np.linspace(0.9, 1.1, 256)[None, None].repeat(256, 1).repeat(3, 0)
    assert noise_map(slope, 1.0).max() < 1e-7
    noise = rng.normal(0, 0.01, (1, 256, 256)).repeat(3, 0)
    bend = 0.5 ** (1 / 2.2) / 2.2 / 2  # the derivative of the tone map at 1
    assert noise_map(1 + noise, 1.0).mean() == pytest.approx((0.01 * bend) ** 2, rel=0.05)


def test_choosing_by_the_source_does_not_move_the_targets_mean() -> None:
    """Of rare bright outliers, as of renders. Chosen by the target's own noise they are met more often: the twin."""
    rng = np.random.default_rng(1)
    source, target = (np.where(rng.random((1, 512, 512)) < 0.002, 30.0, 1.0).repeat(3, 0) for _ in range(2))
    cells = target.mean(0).reshape(512 // CELL, CELL, 512 // CELL, CELL).mean((1, 3))

    def moved(noise: NDArray[Any]) -> float:
        """By how many standard errors, were cells chosen at random."""
        weight = noise / noise.sum() - 1 / noise.size
        return float((weight * cells).sum() / (cells.std() * np.sqrt((weight**2).sum())))

    assert abs(moved(noise_map(source, 0.2))) < 5
    assert moved(noise_map(target, 0.2)) > 5


@pytest.mark.parametrize(("height", "width"), [(100, 70), (16, 64), (8, 8)])
def test_a_place_is_inside_and_near_its_cell(height: int, width: int) -> None:
    noise = np.zeros((-(-height // CELL), -(-width // CELL)))
    noise[-1, 0] = 1
    pixels = np.arange(height * width).reshape(1, height, width)
    rng = np.random.default_rng(2)
    for _ in range(50):
        place = noisy_place(noise, height, width, 16, rng.random(3).tolist())
        assert all(0 <= number < 1 for number in place)
        crop = cropped_at(pixels, 16, False, [*place, 0.0, 0.0])
        rows, columns = np.divmod(crop, width)
        assert rows.max() >= (height - 1) // CELL * CELL
        assert columns.min() < CELL


def test_a_frame_without_noise_is_cropped_anywhere() -> None:
    assert noisy_place(np.zeros((4, 4)), 64, 64, 16, [0.5, 0.25, 0.75]) == [0.25, 0.75]
