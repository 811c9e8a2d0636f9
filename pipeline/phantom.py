"""Verb: generate phantoms, greyscale slices of a head that nobody has: random ellipses with texture.

After the head phantom of Shepp and Logan 1974: a bright skull around dimmer tissue, in it dark ventricles and
bright lesions, all ellipses. Ours are drawn anew for each picture, folded like a brain and textured, because a
network learns ten fixed ellipses by heart.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.dead_leaves import SUPERSAMPLING, write_pictures
from pipeline.errors import run_verb

Floats = NDArray[np.float32]


def phantom(size: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """One slice (size, size) in 8 bits: dark around the head, white at most in the skull."""
    side = size * SUPERSAMPLING
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) * 2 / side - 1
    # Centre, turn and half-axes of the head; everything else is placed inside it, in units of it.
    centre, turn = generator.uniform(-0.06, 0.06, 2), generator.uniform(-0.4, 0.4)
    axes = np.array([generator.uniform(0.72, 0.86), generator.uniform(0.56, 0.7)])
    v, u = turned(y - centre[0], x - centre[1], turn)
    v, u = v / axes[0], u / axes[1]
    radius = np.hypot(v, u) * (1 + 0.03 * wobble(np.arctan2(v, u), generator))
    canvas = np.where(radius < 1, generator.uniform(0.75, 1.0), 0).astype(np.float32)  # skin and skull
    canvas[radius < 0.94] = generator.uniform(0.05, 0.2)  # liquid between skull and brain
    tissue = generator.uniform(0.4, 0.65)
    canvas[radius < 0.87] = tissue
    folds = np.sin(generator.uniform(10, 18) * radius + 3 * smooth(side, 8, generator)) > 0.3
    canvas[(radius < 0.87) & (radius > generator.uniform(0.45, 0.6)) & folds] = tissue * generator.uniform(0.6, 0.8)
    for _ in range(generator.integers(6, 14)):
        paint_ellipse(canvas, v, u, generator)
    texture = 1 + generator.uniform(0.02, 0.06) * smooth(side, size // 3, generator) + 0.06 * smooth(side, 6, generator)
    small = (canvas * texture).reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean((1, 3))
    return np.clip(np.floor(small * 255 + 0.5), 0, 255).astype(np.uint8)


def paint_ellipse(canvas: Floats, v: Floats, u: Floats, generator: np.random.Generator) -> None:
    """A ventricle, nucleus or lesion anywhere inside the brain; one in two comes in pairs, left and right."""
    row, column = generator.uniform(-0.55, 0.55), generator.uniform(0, 0.5)
    long = generator.uniform(0.03, 0.25)
    short, turn = long * generator.uniform(0.3, 1), generator.uniform(-np.pi / 2, np.pi / 2)
    value = generator.uniform(0.02, 0.95)
    for sign in (1, -1) if generator.random() < 0.5 else (1,):
        dv, du = turned(v - row, u - sign * column, sign * turn)
        canvas[(dv / long) ** 2 + (du / short) ** 2 < 1] = value


def turned(y: Floats, x: Floats, angle: float) -> tuple[Floats, Floats]:
    return np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x


def wobble(angle: Floats, generator: np.random.Generator) -> Floats:
    """A closed curve around zero, of order 1: a head is no ellipse."""
    phases = generator.uniform(0, 2 * np.pi, 3)
    return sum((np.sin(n * angle + phase) / n for n, phase in enumerate(phases, 2)), np.zeros_like(angle))


def smooth(side: int, cells: int, generator: np.random.Generator) -> Floats:
    """Smooth noise (side, side) of about unit variance, with about `cells` bumps along a side."""
    knots = generator.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    place = np.linspace(0, cells, side, endpoint=False, dtype=np.float32)
    cell, share = place.astype(int), place % 1
    share = share * share * (3 - 2 * share)
    rows = knots[cell] * (1 - share)[:, None] + knots[cell + 1] * share[:, None]
    return 1.5 * (rows[:, cell] * (1 - share) + rows[:, cell + 1] * share)


def main(arguments: list[str] | None = None) -> None:
    write_pictures(arguments, "phantom", "phantom", phantom)


if __name__ == "__main__":
    run_verb(main)
