"""Pairs: draw number -> (source, target), the same bytes on any number of ranks and workers, today or later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from pipeline.corruption import CorruptionConfig, corrupt
from pipeline.errors import BadInput
from pipeline.geometry import random_crop
from pipeline.order import Order
from pipeline.picture import to_unit
from pipeline.randomness import draw_generators
from pipeline.reader import ShardSet


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """How a picture becomes a pair."""

    crop: int = 64
    """Side of the square views in pixels; smaller pictures are continued by reflection."""
    flips: bool = True
    """Mirror views left to right and upside down, each with probability 1/2."""
    target: Literal["noisy", "clean"] = "noisy"
    """noisy is Noise2Noise; clean is the supervised baseline, on the very same sources."""

    def __post_init__(self) -> None:
        if self.crop < 1:
            raise ValueError(f"pairs.crop is {self.crop}; wanted at least 1 pixel")


class Pair(NamedTuple):
    """A noisy source and its target: (C, H, W) or (N, C, H, W), float32, photographs around [0, 1], unclipped."""

    source: Tensor
    target: Tensor


class PairDataset(Dataset[Pair | BadInput]):
    """Pairs by draw number. The item of a list of draws is one batch, made in one go.

    Everything random about a draw comes from one generator keyed by (seed, draw), in this order: crop, flips,
    source strength, source noise, target strength, target noise. So the two views' noises are independent, and a
    run with clean targets sees exactly the sources of the run with noisy ones.
    """

    def __init__(
        self, shards: ShardSet, order: Order, pairs: PairsConfig, corruption: CorruptionConfig, seed: int
    ) -> None:
        self.shards = shards
        self.order = order
        self.config = pairs
        self.corruption = corruption
        self.seed = seed

    def __getitem__(self, draws: Sequence[int]) -> Pair | BadInput:
        """The batch of these draws. What is wrong with the data is returned, to be raised where it is read:
        raised in a worker process, it would reach the user inside two tracebacks.
        """
        try:
            return self.batch(draws)
        except BadInput as error:
            return error

    def batch(self, draws: Sequence[int]) -> Pair:
        size = self.config.crop
        batch = Pair(*(torch.empty(len(draws), 3, size, size) for _ in Pair._fields))
        samples = self.order.samples(draws)
        generators = draw_generators(self.seed, draws)
        for row, (sample, generator) in enumerate(zip(samples, generators, strict=True)):
            pair = self.make_pair(self.clean(int(sample), generator), generator)
            for whole, part in zip(batch, pair, strict=True):
                whole[row] = part
        return batch

    def clean(self, sample: int, generator: Generator) -> Tensor:
        """The clean view of a sample that the generator crops."""
        crop = random_crop(self.shards.pixels(sample), self.config.crop, self.config.flips, generator)
        return torch.from_numpy(np.ascontiguousarray(to_unit(crop)))

    def make_pair(self, clean: Tensor, generator: Generator) -> Pair:
        source = corrupt(clean, self.corruption, generator)
        target = clean if self.config.target == "clean" else corrupt(clean, self.corruption, generator)
        return Pair(source, target)
