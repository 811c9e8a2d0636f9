"""Verb: generate dead-leaves pictures, random occluding shapes with the statistics of natural images.

Matheron's dead leaves with radii of density r^-3 have the scale invariance of photographs: edges of every size,
occlusion, a power spectrum near 1/f^2 (Lee, Mumford and Huang 2001). Denoisers train on them nearly as well as on
photographs (Achddou, Gousseau and Ladjal 2021). Colours and textures here are drawn, not taken from any picture.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from pipeline.atomic import write_whole
from pipeline.errors import BadInput, run_verb
from pipeline.randomness import key

SUPERSAMPLING = 2  # painted larger and averaged down, so that edges are as soft as a lens makes them
SMALLEST_RADIUS = (
    2.0,
    30.0,
)  # in painted pixels; between them per picture, as some photographs are all detail
LARGEST_RADIUS = 0.5  # of the painted side


def dead_leaves(size: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """One picture (size, size, 3) in 8 bits, painted back to front until leaves have covered it."""
    side = size * SUPERSAMPLING
    canvas = np.empty((side, side, 3), np.float32)
    palette = random_palette(generator)
    canvas[:] = palette[0]
    radii = leaf_radii(side, generator)
    for radius in radii:
        paint_leaf(canvas, radius, palette[generator.integers(len(palette))], generator)
    small = canvas.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    return np.clip(np.floor(small * 255 + 0.5), 0, 255).astype(np.uint8)


def leaf_radii(side: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Radii of density r^-3 between the bounds, as many as cover the canvas about three times over."""
    finest, coarsest = SMALLEST_RADIUS
    high = LARGEST_RADIUS * side
    low = min(finest * (coarsest / finest) ** generator.random(), high / 2)
    mean_area = np.pi * 2 * np.log(high / low) / (low**-2 - high**-2)  # of pi r^2 under the density
    number = int(3 * side * side / mean_area)
    uniform = generator.random(number)
    return np.asarray((low**-2 + uniform * (high**-2 - low**-2)) ** -0.5)


def random_palette(generator: np.random.Generator) -> NDArray[np.float32]:
    """Some thirty colours as in a photograph: brightness over the whole range, hues related, mostly muted."""
    brightness = generator.beta(0.9, 1.1, (32, 1))
    cast = generator.normal(0, 0.12, 3)
    tint = generator.normal(0, generator.uniform(0.02, 0.2), (32, 3))
    return np.clip(brightness * (1 + cast - cast.mean()) + tint, 0, 1).astype(np.float32)


def paint_leaf(
    canvas: NDArray[np.float32], radius: float, colour: NDArray[np.float32], generator: np.random.Generator
) -> None:
    """Paint one ellipse or polygon, shaded and perhaps striped, where it falls on the canvas."""
    side = len(canvas)
    y, x = generator.uniform(-radius, side + radius, 2)
    reach = radius * 1.5
    top, bottom = max(0, int(y - reach)), min(side, int(y + reach) + 1)
    left, right = max(0, int(x - reach)), min(side, int(x + reach) + 1)
    turn, aspect, gradient, frequency, contrast, phase = generator.random(6)
    if top >= bottom or left >= right:
        return
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - y
    dx = np.arange(left, right, dtype=np.float32)[None, :] - x
    along = (np.cos(turn * np.pi) * dx + np.sin(turn * np.pi) * dy) / radius
    across = (np.cos(turn * np.pi) * dy - np.sin(turn * np.pi) * dx) / (radius * (0.4 + 0.6 * aspect))
    round_leaf = generator.random() < 0.5
    inside = along**2 + across**2 < 1 if round_leaf else np.maximum(np.abs(along), np.abs(across)) < 0.9
    shade = 1 + 0.5 * (gradient - 0.5) * along
    if contrast < 0.3:  # stripes: three in ten leaves have a texture
        waves = along if phase < 0.5 else across
        shade = shade + contrast * np.sin((2 + 30 * frequency) * waves + 6 * phase)
    canvas[top:bottom, left:right][inside] = (colour * shade[..., None])[inside]


def write_pictures(
    arguments: list[str] | None, verb: str, name: str, make: Callable[[int, np.random.Generator], NDArray[np.uint8]]
) -> None:
    """The command line of verbs that generate pictures: NAME-SEED-NUMBER.png, each a function of seed and number."""
    parser = argparse.ArgumentParser(prog=f"n2n {verb}", description=f"Generate {name} pictures as PNG files.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--count", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--size", type=int, default=256, help="side in pixels (default: 256)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures (default: 0)")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.size < 8:
        got = f"--count {options.count} --size {options.size}"
        raise BadInput("nothing to generate", options.out, got, "at least 1 picture of at least 8 pixels")
    options.out.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(options.count), verb, unit="picture", disable=None):
        path = options.out / f"{name}-{options.seed}-{number:05d}.png"
        if path.exists():  # whole, because written aside: a second run goes on where the first was stopped
            continue
        pixels = make(options.size, np.random.default_rng(key(options.seed, number)))
        with write_whole(path) as file:
            Image.fromarray(pixels).save(file, "PNG")
    print(f"{options.count} pictures of {options.size} x {options.size} in {options.out}")


def main(arguments: list[str] | None = None) -> None:
    write_pictures(arguments, "dead-leaves", "leaves", dead_leaves)


if __name__ == "__main__":
    run_verb(main)
