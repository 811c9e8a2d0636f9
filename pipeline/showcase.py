"""One picture under every corruption, each at its published test strength, for people to look at."""

import numpy as np
from PIL import Image
from torch import Tensor

from pipeline.corruption import PUBLISHED_TEST, CorruptionConfig, corrupt
from pipeline.panel import side_by_side
from pipeline.randomness import name_generator

COLUMNS = 5


def showcase(clean: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1] and what the network would be shown of it, in rows of COLUMNS; clipped for the eye alone."""
    views = [("clean", clean)]
    for name, config in PUBLISHED_TEST.items():
        views.append((caption(config), corrupt(clean, config, name_generator(0, name)).pixels))
    rows = [side_by_side(views[start : start + COLUMNS]) for start in range(0, len(views), COLUMNS)]
    width = max(row.width for row in rows)
    sheet = np.full((sum(row.height for row in rows), width, 3), 255, np.uint8)
    top = 0
    for row in rows:
        sheet[top : top + row.height, : row.width] = np.asarray(row)
        top += row.height
    return Image.fromarray(sheet)


def caption(config: CorruptionConfig) -> str:
    """Its name and its strengths, without what is a constant of it."""
    numbers = config.numbers
    strengths = [f"{numbers[name]:g}" for name, option in config.law.options.items() if option.test is not None]
    return f"{config.name} {', '.join(strengths)}"
