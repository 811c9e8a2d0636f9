"""A picture under every corruption: all of them, as captioned, and the same each time."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipeline.corruption import PUBLISHED_TEST, corrupt
from pipeline.gallery import Gallery
from pipeline.panel import GAP
from pipeline.picture import from_unit
from pipeline.randomness import name_generator
from pipeline.showcase import COLUMNS, caption, showcase


def test_every_corruption_is_shown_at_its_test_strength() -> None:
    clean = torch.rand(3, 40, 160)  # as wide as any caption
    sheet = np.asarray(showcase(clean))
    height = sheet.shape[0] // (len(PUBLISHED_TEST) // COLUMNS + 1)
    for place, (name, config) in enumerate(PUBLISHED_TEST.items(), 1):
        noisy = corrupt(clean, config, name_generator(0, name)).pixels
        top, left = place // COLUMNS * height + GAP, place % COLUMNS * (160 + GAP) + GAP
        shown = sheet[top : top + 40, left : left + 160]
        assert (shown == from_unit(noisy.numpy(), 8).transpose(1, 2, 0)).all(), name


def test_captions_name_what_is_drawn() -> None:
    assert caption(PUBLISHED_TEST["brown"]) == "brown 25"
    assert caption(PUBLISHED_TEST["camera_text"]) == "camera_text 400, 0.25"


def test_inspect_saves_it_for_a_set(run_verb: Any, shards: Path, tmp_path: Path) -> None:
    done = run_verb("pipeline.inspect", shards, "--corruptions", "all.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "all.png") as image:
        assert (np.asarray(image) == np.asarray(showcase(Gallery(shards).clean("000000000")))).all()
