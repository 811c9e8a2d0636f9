"""Normal numbers: their bits with the compiled core and without it, their exactness, and their law."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.random import SFC64
from torch import Tensor

from pipeline import normals
from pipeline.compiled import core
from pipeline.normals import BLOCK, LANES, Floats, Key, fill_by_numpy

Agree = Callable[[Tensor, float, float], bool]

KEY = (1 << 63) + 5, 77, (1 << 64) - 2  # the lanes' third words wrap
needs_core = pytest.mark.skipif(not core, reason="the compiled core was not built here")


def filled(fill: Callable[..., None], count: int, key: Key = KEY, **how: object) -> Floats:
    numbers = np.full(count, np.nan, np.float32)
    fill(numbers, key, **how)
    return numbers


@needs_core
@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 255, 256, 257, 8191, 8193, 100_003])
def test_the_compiled_core_and_numpy_have_the_same_bits(count: int) -> None:
    around = np.linspace(-1, 2, count, dtype=np.float32)
    for how in ({}, {"scale": 25 / 255}, {"scale": 0.3, "around": around}, {"scale": 0.0, "around": around}):
        ours, theirs = filled(normals.fill, count, **how), filled(fill_by_numpy, count, **how)
        assert ours.tobytes() == theirs.tobytes()


@needs_core
def test_they_have_the_same_bits_for_many_keys() -> None:
    for key in np.random.default_rng(0).integers(0, 1 << 64, (300, 3), np.uint64, endpoint=False).tolist():
        assert filled(normals.fill, 700, tuple(key)).tobytes() == filled(fill_by_numpy, 700, tuple(key)).tobytes()


@pytest.mark.parametrize("fill", [normals.fill, fill_by_numpy])
def test_golden_numbers(fill: Callable[..., None]) -> None:
    """Every run depends on them: a change here is a change of all noise, and CHANGELOG.md must say so."""
    numbers = filled(fill, 10_000, (1, 2, 3))
    assert hashlib.sha256(numbers.tobytes()).hexdigest()[:16] == "7672959011c3af79"


def test_they_are_scaled_and_moved_as_tensors_are() -> None:
    around = np.random.default_rng(0).random(5000, np.float32)
    plain = torch.from_numpy(filled(normals.fill, 5000))
    moved = plain.mul(0.1).add(torch.from_numpy(around))
    assert torch.equal(torch.from_numpy(filled(normals.fill, 5000, scale=0.1, around=around)), moved)


@pytest.mark.parametrize("fill", [normals.fill, fill_by_numpy])
def test_fewer_numbers_are_the_beginning_of_more(fill: Callable[..., None]) -> None:
    many = filled(fill, 20_000)
    assert all(np.array_equal(filled(fill, count), many[:count]) for count in (1, 300, 8192, 12_288))


def words(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of lengths and of angles, by numpy's own generator with the state set by hand."""
    lanes = []
    for lane in range(LANES):
        one = SFC64(0)
        state = np.array([KEY[0], KEY[1], (KEY[2] + lane) % (1 << 64), 1], np.uint64)
        one.state = {"bit_generator": "SFC64", "state": {"state": state}, "has_uint32": 0, "uinteger": 0}
        one.random_raw(12)
        lanes.append(one.random_raw(count // LANES))
    pairs = np.stack(lanes, 1).view(np.uint32).reshape(-1, 2, BLOCK)
    return pairs[:, 0], pairs[:, 1]


def test_they_are_what_the_method_makes_of_the_words() -> None:
    lengths, angles = words(1 << 20)
    u = ((lengths >> 1).view(np.int32).astype(np.float32) + np.float32(0.5)).astype(np.float64) / 2**31
    turn = ((angles << 2).view(np.int32) >> 2) * (2 * np.pi / 2**32)
    mirror, sign = (angles >> 30) & 1, 1.0 - 2.0 * (angles >> 31)
    pair = np.stack([np.cos(turn), np.sin(turn)])
    pair = np.where(mirror, pair[::-1], pair) * sign * np.sqrt(-2 * np.log(u))
    exact = pair.transpose(1, 0, 2).reshape(-1)
    assert np.abs(filled(normals.fill, exact.size) - exact).max() < 2e-6


def test_the_extreme_words_make_numbers_below_the_bound() -> None:
    ends = np.array([[0, 1, 2, 3, (1 << 32) - 1, (1 << 32) - 2, 1 << 31, 1 << 24]], np.uint32)
    for angles in (ends, ends[:, ::-1].copy(), ends << 30):
        numbers = normals._box_muller(ends, angles)
        assert np.isfinite(numbers).all()
        assert np.abs(numbers).max() < 6.7


def test_normal_numbers_are_normal(agree: Agree) -> None:
    numbers = torch.from_numpy(filled(normals.fill, 1 << 20))
    assert agree(numbers, 0, 1)
    assert agree(numbers.square(), 1, 2)
    assert agree(numbers.pow(4), 3, 96)
    assert abs(float(numbers.pow(3).mean())) < 5 * (15 / numbers.numel()) ** 0.5
    for distance in (1, 2, 3, 4, 8, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK):
        assert agree(numbers[distance:] * numbers[:-distance], 0, 1), "of one lane, of a pair, of the next block"
        squares = numbers.square() - 1
        assert agree(squares[distance:] * squares[:-distance], 0, 4)
    for level, share in ((0.5, 0.308538), (1.0, 0.158655), (2.0, 0.022750), (3.0, 0.001350), (4.0, 3.1671e-5)):
        for side in (numbers, -numbers):
            assert agree((side > level).float(), share, share * (1 - share))


def test_the_twins_that_are_not_normal(agree: Agree) -> None:
    numbers = torch.from_numpy(filled(normals.fill, 1 << 20))
    assert not agree(numbers * 1.01, 0, 1) or not agree((numbers * 1.01).square(), 1, 2)
    assert not agree(numbers.clamp(-3, 3).pow(4), 3, 96)
    assert not agree(numbers[BLOCK:].square() * numbers[:-BLOCK].square() + 0.03, 1, 8)
    half = torch.cat([numbers.abs()[: 1 << 19], numbers[1 << 19 :]])
    assert not agree(half, 0, 1)


def test_keys_have_numbers_of_their_own(agree: Agree) -> None:
    """The third words are further apart than there are lanes, as those of random keys are."""
    keys = [(5, 6, 7), (5, 6, 7 + LANES), (5, 7, 7), (6, 6, 7), (7, 6, 5)]
    rows = [torch.from_numpy(filled(normals.fill, 1 << 17, key)) for key in keys]
    assert all(agree(row * other, 0, 1) for number, row in enumerate(rows) for other in rows[:number])
    assert not agree(rows[0] * (0.999 * rows[1] + 0.045 * rows[0]), 0, 1), "the twin that must fail"


@pytest.mark.parametrize("wrong", [np.zeros(8, np.float32)[::2], np.zeros(3, np.uint8), np.zeros(4)])
def test_what_cannot_be_filled_is_refused(wrong: Floats) -> None:
    with pytest.raises(ValueError, match="wanted contiguous float32"):
        normals.fill(wrong, KEY)


@needs_core
def test_as_many_are_wanted_around() -> None:
    with pytest.raises(ValueError, match="as many around"):
        normals.fill(np.zeros(4, np.float32), KEY, 1.0, np.zeros(5, np.float32))
