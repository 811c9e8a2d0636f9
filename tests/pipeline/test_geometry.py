"""Crops and flips."""

import numpy as np
import pytest
import torch

from pipeline.geometry import random_crop, reflect_to


def test_crops_reach_every_place_and_every_mirror() -> None:
    picture = np.arange(12).reshape(1, 3, 4)
    generator = torch.Generator().manual_seed(0)
    seen = {random_crop(picture, 2, True, generator).tobytes() for _ in range(2000)}
    assert len(seen) == 2 * 3 * 4


def test_without_flips_crops_are_the_picture_itself() -> None:
    picture = np.arange(12).reshape(1, 3, 4)
    generator = torch.Generator().manual_seed(0)
    crops = [random_crop(picture, 2, False, generator) for _ in range(500)]
    tops = {int(crop[0, 0, 0]) for crop in crops}
    assert tops == {0, 1, 2, 4, 5, 6}
    assert all(crop[0, 1, 1] - crop[0, 0, 0] == 5 for crop in crops)


@pytest.mark.parametrize("flips", [True, False])
def test_what_follows_a_crop_does_not_depend_on_the_picture(flips: bool) -> None:
    after = []
    for shape in ((3, 100, 80), (1, 5, 7)):
        generator = torch.Generator().manual_seed(3)
        random_crop(np.zeros(shape), 16, flips, generator)
        after.append(float(torch.rand((), generator=generator)))
    assert after[0] == after[1]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 200), (64, 64), (65, 10)])
def test_small_pictures_are_continued_by_reflection(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (3, *shape))
    large = reflect_to(picture, 64)
    assert large.shape == (3, max(64, shape[0]), max(64, shape[1]))
    assert (large[:, : shape[0], : shape[1]] == picture).all()
    if 1 < shape[0] < 64:
        assert (large[:, shape[0]] == large[:, shape[0] - 2]).all()
