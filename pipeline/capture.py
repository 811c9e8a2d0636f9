"""A limited capture budget: noise that sticks to its picture, as if it had been photographed only so often."""

from typing import Literal

import torch
from torch import Generator, Tensor

from pipeline.corruption import CorruptionConfig, draw_strengths, noisy_view
from pipeline.corruptions.registry import View
from pipeline.randomness import draw_generators, key

Capture = Literal["fresh", "fixed"] | int

CAPTURES = 0x63617074  # of the key: no draw's noise is ever a captured one


def pick_versions(capture: Capture, generator: Generator) -> tuple[int, int]:
    """Which two noisy versions of a picture meet: for `fixed` always the same, else any ordered two of K."""
    if capture == "fixed":
        return 0, 1
    count = int(capture)
    number = int(torch.randint(count * (count - 1), (), generator=generator))
    first, other = divmod(number, count - 1)
    return first, other + (other >= first)


def captured_views(
    clean: Tensor, config: CorruptionConfig, seed: int, picture: int, versions: tuple[int, int], budget: int
) -> list[View]:
    """The noisy versions asked for of the `budget` that a picture (C, H, W) has: a function of these numbers alone.

    A strength that is drawn once a pair is drawn once a picture here.
    """
    first = picture * (budget + 1)  # one key for what the versions share, and one for each
    shared, *own = draw_generators(key(seed, CAPTURES), [first, *(first + 1 + version for version in versions)])
    strengths = draw_strengths(config, shared) if config.law.per_pair else None
    return [noisy_view(clean, config, generator, strengths) for generator in own]


def shared_generator(seed: int, picture: int) -> Generator:
    """For what all versions of a picture share besides their noise: which part of it has been captured."""
    return draw_generators(key(seed, CAPTURES, 1), [picture])[0]
