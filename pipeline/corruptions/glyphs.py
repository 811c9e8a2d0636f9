"""Stencils of strings in the font that ships with the project, from glyphs that are rendered once a process."""

import string
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FONT = Path(__file__).parent / "font" / "DejaVuSansMono-ASCII.ttf"  # free; its licence lies beside it
CHARACTERS = string.ascii_letters + string.digits

Stencil = NDArray[np.float32]


def stencil(characters: NDArray[np.integer], size: int) -> Stencil:
    """(height, width) opacity in [0, 1] of a string, given as positions in CHARACTERS, in a font of `size` pixels.

    The font is monospaced, so that a string is one gather from its glyphs.
    """
    cells = glyphs(size)[characters]
    count, height, width = cells.shape
    return cells.transpose(1, 0, 2).reshape(height, count * width)


@lru_cache(maxsize=64)
def glyphs(size: int) -> Stencil:
    """(character, height, width) opacity of every character."""
    # Basic layout: the other engine is optional in Pillow, and may place glyphs otherwise.
    font = ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)
    ascent, descent = font.getmetrics()
    cell = (round(font.getlength("0")), ascent + descent)
    rendered = np.empty((len(CHARACTERS), cell[1], cell[0]), dtype=np.float32)
    for number, character in enumerate(CHARACTERS):
        image = Image.new("L", cell)
        ImageDraw.Draw(image).text((0, 0), character, fill=255, font=font)
        rendered[number] = np.asarray(image, dtype=np.float32) / 255
    rendered.setflags(write=False)  # it is shared by every string to come
    return rendered
