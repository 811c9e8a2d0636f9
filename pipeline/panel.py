"""Pictures side by side with a caption under each, for people to look at."""

import io
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pipeline.atomic import write_whole
from pipeline.picture import from_unit

GAP = 8
BACKGROUND = (255, 255, 255)
INK = (32, 32, 32)
SHOWN = 4  # pictures of a validation that are kept at every one of them: the first ones
SIDE = 256  # pixels of each that are shown
GAIN = 4  # of differences, which are small


def side_by_side(views: Sequence[tuple[str, Tensor]]) -> Image.Image:
    """Lay out (caption, picture) from left to right; pictures are (3, H, W) in [0, 1], clipped for the eye alone."""
    images = [Image.fromarray(from_unit(view.numpy(), 8).transpose(1, 2, 0)) for _, view in views]
    font_size = int(np.clip(images[0].width // 16, 10, 24))
    font, strip = ImageFont.load_default(font_size), 2 * font_size
    # A small picture takes the width of its caption, or captions would run into each other.
    widths = [max(image.width, ceil(font.getlength(name))) for (name, _), image in zip(views, images, strict=True)]
    height = max(image.height for image in images)
    panel = Image.new("RGB", (sum(widths) + GAP * (len(images) + 1), height + strip + 2 * GAP), BACKGROUND)
    pen = ImageDraw.Draw(panel)
    left = GAP
    for (caption, _), image, width in zip(views, images, widths, strict=True):
        panel.paste(image, (left, GAP))
        place = (left + width // 2, GAP + image.height + strip // 2)
        pen.text(place, caption, INK, font, anchor="mm")
        left += width + GAP
    return panel


def stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """One below the other, from the left."""
    page = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), BACKGROUND)
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    return page


def compared(views: Sequence[tuple[str, Tensor]]) -> Image.Image:
    """Noisy, denoised, and what it should be, and in grey how far it is from that: the middles, of the same pixels."""
    middles = [(caption, middle(view)) for caption, view in views]
    (_, denoised), (_, wanted) = middles[-2:]
    return side_by_side([*middles, (f"{GAIN} x difference", 0.5 + GAIN * (denoised - wanted))])


def middle(view: Tensor) -> Tensor:
    """The inner (3, H, W) of at most SIDE pixels a side."""
    top, left = (max(0, size - SIDE) // 2 for size in view.shape[-2:])
    return view[..., top : top + SIDE, left : left + SIDE]


def coloured(view: Tensor) -> Tensor:
    """Grey as three equal channels; colour as it is."""
    return view.expand(3, -1, -1) if len(view) == 1 else view


def save_png(image: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all."""
    file = io.BytesIO()
    image.save(file, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as out:
        out.write(file.getvalue())
