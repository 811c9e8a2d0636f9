"""Shots come out of files as they were written, whatever kind of file it is."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import BadInput
from pipeline.sources.shot_pixels import read_shots

RANDOM = np.random.default_rng(0)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)  # type: ignore[arg-type]
    return file.getvalue()


def values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (RANDOM.random(shape) * 250).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4"])
def test_tiff_pages_are_shots(dtype: str) -> None:
    stack = values((5, 9, 7), dtype)
    shots = read_shots(tiff(stack, photometric="minisblack"), "a.tif")
    assert len(shots) == 5
    assert all(
        np.array_equal(shot[0], page) and shot.dtype == page.dtype for shot, page in zip(shots, stack, strict=True)
    )


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_tiff(planar: str) -> None:
    picture = values((9, 7, 3), "u2")
    samples = picture if planar == "contig" else picture.transpose(2, 0, 1)
    (shot,) = read_shots(tiff(samples, photometric="rgb", planarconfig=planar), "a.tiff")
    np.testing.assert_array_equal(shot, picture.transpose(2, 0, 1))


def test_transparency_is_no_channel() -> None:
    rgba = values((9, 7, 4), "u1")
    (shot,) = read_shots(tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]), "a.tif")
    np.testing.assert_array_equal(shot, rgba.transpose(2, 0, 1)[:3])


@pytest.mark.parametrize(
    ("shape", "shots"),
    [((8, 9), 1), ((3, 8, 9), 1), ((1, 8, 9), 1), ((5, 8, 9), 5), ((4, 3, 8, 9), 4), ((2, 1, 8, 9), 2)],
)
def test_npy(shape: tuple[int, ...], shots: int) -> None:
    array = values(shape, ">f4")
    read = read_shots(npy(array), "a.npy")
    assert len(read) == shots
    np.testing.assert_array_equal(np.concatenate(read).ravel(), array.ravel())
    assert all(shot.dtype == np.float32 and shot.flags.c_contiguous for shot in read)


def test_pictures_are_decoded() -> None:
    file = io.BytesIO()
    picture = values((8, 9), "u2")
    Image.fromarray(picture).save(file, "PNG")
    np.testing.assert_array_equal(read_shots(file.getvalue(), "a.png")[0][0], picture)


def test_doubles_become_single() -> None:
    assert read_shots(npy(values((8, 9), "f8")), "a.npy")[0].dtype == np.float32


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (npy(values((8, 9), "i4")), "a.npy", "unfit type"),
        (npy(np.full((8, 9), np.nan, "f4")), "a.npy", "no numbers"),
        (npy(values((8,), "f4")), "a.npy", "not a picture"),
        (npy(values((8, 2, 9, 9), "f4")), "a.npy", "not a picture"),
        (b"nonsense", "a.npy", "not a readable"),
        (b"II*\0nonsense", "a.tif", "not a readable"),
        (tiff(values((20, 30), "u2"))[:200], "a.tif", "not a readable"),
        (b"nonsense", "a.png", "not a readable"),
        (tiff(values((8, 9), "i2")), "a.tif", "unfit type"),
    ],
)
def test_what_is_no_shot_is_refused(data: bytes, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_shots(data, name)
