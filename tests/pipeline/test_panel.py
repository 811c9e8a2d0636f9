"""Pictures side by side: as they are, captions apart."""

import numpy as np
import torch

from pipeline.panel import GAP, side_by_side


def test_pictures_are_shown_pixel_for_pixel() -> None:
    views = [("a", torch.rand(3, 30, 40)), ("b", torch.rand(3, 30, 40))]
    panel = np.asarray(side_by_side(views))
    for place, (_, view) in enumerate(views):
        left = GAP + place * (40 + GAP)
        shown = panel[GAP : GAP + 30, left : left + 40].transpose(2, 0, 1)
        assert (shown == np.floor(view.numpy() * 255 + 0.5)).all()


def test_captions_wider_than_their_pictures_do_not_meet() -> None:
    captions = ["denoised 31.22 dB", "denoised 31.24 dB", "clean"]
    panel = np.asarray(side_by_side([(caption, torch.ones(3, 16, 16)) for caption in captions]))
    ink = (panel[GAP + 16 :] < 255).any((0, 2))
    gaps = np.diff(np.flatnonzero(np.diff(np.concatenate([[False], ink, [False]]).astype(int))))[1::2]
    assert sorted(gaps)[-2] >= GAP, "two gaps between three captions are wider than those between letters"
