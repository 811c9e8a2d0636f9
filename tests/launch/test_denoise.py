"""Denoising files: any size, the same format out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.picture import Picture, decode, encode

PIXELS = np.random.default_rng(0).integers(0, 65536, (3, 45, 37), dtype=np.uint16)


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """One picture of every kind."""
    folder = tmp_path / "noisy"
    folder.mkdir()
    eight = (PIXELS >> 8).astype(np.uint8)
    alpha = eight[:1]
    for name, picture in {
        "colour.png": Picture(eight, None, None),
        "grey.png": Picture(eight[:1], None, None),
        "alpha.png": Picture(eight, alpha, None),
        "photo.jpg": Picture(eight, None, None),
        "web.webp": Picture(eight, None, None),
        "old.bmp": Picture(eight, None, None),
        "deep.png": Picture(PIXELS, None, None),
        "deepgrey.png": Picture(PIXELS[:1], None, None),
        "deep.tif": Picture(PIXELS, None, None),
        "pixel.png": Picture(eight[:, :1, :1].copy(), None, None),
        "row.png": Picture(np.tile(eight[:, :1], (1, 1, 40)), None, None),
    }.items():
        (folder / name).write_bytes(encode(picture, Path(name).suffix))
    return folder


def kind(path: Path) -> str | None:
    with Image.open(path) as image:
        return image.format


def test_every_kind_comes_out_as_it_went_in(run_verb: Any, trained: Path, noisy: Path, tmp_path: Path) -> None:
    done = run_verb("launch.denoise", trained, noisy, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for path in noisy.iterdir():
        before, after = decode(path.read_bytes(), path), decode((tmp_path / "out" / path.name).read_bytes(), path)
        assert kind(path) == kind(tmp_path / "out" / path.name)
        assert (after.pixels.shape, after.bits) == (before.pixels.shape, before.bits), path.name
        assert (after.pixels != before.pixels).any(), path.name
        if before.alpha is not None:
            assert (after.alpha == before.alpha).all()


def test_an_input_is_never_overwritten(run_verb: Any, trained: Path, noisy: Path) -> None:
    before = (noisy / "colour.png").read_bytes()
    done = run_verb("launch.denoise", trained, noisy / "colour.png", "--out", noisy)
    assert done.returncode == 2
    assert "overwrite" in done.stderr
    assert (noisy / "colour.png").read_bytes() == before


def test_two_inputs_of_one_name_are_refused(run_verb: Any, trained: Path, noisy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "grey.png").write_bytes((noisy / "grey.png").read_bytes())
    done = run_verb("launch.denoise", trained, noisy / "grey.png", other / "grey.png", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "two pictures of one name" in done.stderr
