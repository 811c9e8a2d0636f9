"""Phantoms: repeatable, and built as heads are: dark around, bright skull, dim inside, no two alike."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.phantom import main, phantom


def test_a_phantom_is_a_function_of_its_generator() -> None:
    one, same, other = (phantom(64, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.shape == (64, 64)
    assert one.dtype == np.uint8
    assert (one == same).all()
    assert (one != other).any()


def test_a_phantom_is_a_head_in_the_dark() -> None:
    for seed in range(20):
        picture = phantom(96, np.random.default_rng(seed)).astype(float)
        assert picture[0].max() == picture[-1].max() == picture[:, 0].max() == picture[:, -1].max() == 0
        left = int(np.flatnonzero(picture[48])[0])
        skull = picture[48, left : left + 6].max()
        assert skull > 1.1 * np.median(picture[36:60, 36:60]), "the skull is brighter than what it holds"
        assert 0.25 < (picture > 0).mean() < 0.6
        assert picture[30:66, 30:66].std() > 8, "there is something inside"


def test_the_verb_writes_greyscale_pictures_and_goes_on(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--count", "2", "--size", "32"])
    first = tmp_path / "phantom-0-00000.png"
    with Image.open(first) as image:
        assert (image.mode, image.size) == ("L", (32, 32))
    first.write_bytes(b"kept")
    main(["--out", str(tmp_path), "--count", "3", "--size", "32"])
    assert first.read_bytes() == b"kept"
    assert len(list(tmp_path.iterdir())) == 3
