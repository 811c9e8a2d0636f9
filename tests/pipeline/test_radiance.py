"""Exposure, transfer and repair of linear radiance."""

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.radiance import (
    TRANSFERS,
    RendersConfig,
    auto_exposure,
    fill_non_finite,
    network_input,
    pu21,
    reinhard,
)

EVERY = RendersConfig(buffers=("albedo", "normal", "depth"))


def test_transfers_rise_from_zero_and_survive_every_half() -> None:
    values = np.sort(np.arange(65536, dtype=np.uint16).view(np.float16)[:31744].astype(np.float32))  # 0 to 65504
    for name, transfer in TRANSFERS.items():
        bent = transfer(values)
        assert bent.dtype == np.float32, name
        assert bent[0] == pytest.approx(0, abs=2e-3), name
        assert (np.diff(bent) >= 0).all(), name
        assert np.isfinite(bent).all(), name
        assert transfer(np.array([-5.0], np.float32)) == bent[0]
    assert reinhard(np.array([1.0], np.float32)) == pytest.approx(0.5 ** (1 / 2.2))


def test_pu21_has_the_published_scale() -> None:
    # 100 cd/m^2 is meant to come out as 256, and 0.005 and 10,000 as the ends 0 and about 596.
    assert 256 * pu21(np.array([1.0, 5e-5, 100.0], np.float32)) == pytest.approx([256, 0, 596], abs=1)


def test_exposure_brings_grey_to_the_key_and_scales_inversely() -> None:
    grey = np.full((3, 50, 37), 0.36, np.float16)
    assert auto_exposure(grey) == pytest.approx(0.5, rel=1e-3)
    assert auto_exposure(grey * np.float16(8)) == pytest.approx(0.0625, rel=1e-3)
    assert auto_exposure(np.zeros((3, 4, 4), np.float32)) == 1


def test_noise_hardly_moves_the_exposure() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.gamma(0.25, 4 * 0.36, (1, 256, 256)).repeat(3, 0).astype(np.float32)  # mean 0.36, twice that deviation
    assert auto_exposure(noisy) == pytest.approx(0.5, rel=0.05)
    naive = 0.18 / np.exp(np.log(noisy[0] + 1e-8).mean())
    assert naive > 2  # pixel by pixel it would be many times too bright


def test_buffers_come_clipped_and_in_their_order() -> None:
    ones = np.ones((3, 2, 2), np.float16)
    buffers = {
        "depth": np.array([[[0.0, 1.0], [np.inf, np.nan]]], np.float32),
        "normal": -7 * ones,
        "albedo": 39.6 * ones,
        "color": ones / 2,
    }
    planes = network_input(buffers, 2.0, EVERY)
    assert planes.shape == (EVERY.channels, 2, 2) == (10, 2, 2)
    assert planes[:3] == pytest.approx(0.5 ** (1 / 2.2))
    assert (planes[3:6] == 1).all()
    assert (planes[6:9] == 0).all()
    assert planes[9].tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert network_input(buffers, 2.0, RendersConfig()).shape == (3, 2, 2)


def test_a_missing_buffer_is_said() -> None:
    with pytest.raises(BadInput, match=r"a\.exr(.|\n)*also albedo, normal"):
        network_input({"color": np.ones((3, 2, 2)), "depth": np.ones((1, 2, 2))}, 1.0, EVERY, "a.exr")


def test_holes_are_filled_from_their_neighbours_and_counted() -> None:
    planes = np.full((3, 30, 40), 2.0, np.float16)
    planes[1, 5, 5], planes[0, 0, 0], planes[:, 20, 20:23] = np.nan, np.inf, -np.inf
    filled, count = fill_non_finite(planes)
    assert count == 5
    assert filled.dtype == np.float16
    assert (filled == 2).all()
    assert fill_non_finite(filled)[0] is filled
    assert np.isnan(planes).sum() == 1  # the caller's array is left alone


def test_a_frame_of_nothing_becomes_black() -> None:
    filled, count = fill_non_finite(np.full((3, 40, 40), np.nan, np.float32))
    assert count == 1600
    assert not filled.any()
