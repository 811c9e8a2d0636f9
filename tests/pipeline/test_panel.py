"""Pictures side by side: as they are, captions apart."""

import numpy as np
import pytest
import torch

from pipeline.panel import GAIN, GAP, SIDE, compared, side_by_side, stacked


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


def test_what_is_compared_are_the_same_pixels_and_their_difference() -> None:
    """The middle of a large picture; grey where nothing differs, and four times what does."""
    clean = torch.rand(3, 300, 600)
    denoised = clean.clone()
    denoised[0, 150, 300] += 0.1
    row = np.asarray(compared([("noisy", torch.rand(3, 300, 600)), ("denoised", denoised), ("clean", clean)]))
    assert row.shape[1] == 4 * SIDE + 5 * GAP
    shown = [row[GAP : GAP + SIDE, GAP + place * (SIDE + GAP) :][:, :SIDE].astype(float) / 255 for place in range(4)]
    wanted = clean[:, 22 : 22 + SIDE, 172 : 172 + SIDE].permute(1, 2, 0).numpy()
    assert np.abs(shown[2] - wanted).max() < 0.6 / 255
    assert shown[3][128, 128, 0] == pytest.approx(0.5 + GAIN * 0.1, abs=0.6 / 255)
    assert (np.abs(shown[3] - 0.5) > 0.6 / 255).sum() == 1


def test_rows_are_stacked_whatever_their_widths() -> None:
    rows = [side_by_side([("a", torch.zeros(3, 30, width))]) for width in (40, 90)]
    page = stacked(rows)
    assert page.size == (rows[1].width, rows[0].height + rows[1].height)
    assert page.crop((0, rows[0].height, *page.size)).tobytes() == rows[1].tobytes()
