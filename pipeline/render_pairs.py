"""Pairs of renders: draw number -> two realisations of a frame, one as source with its own buffers, one as target."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from pipeline.geometry import cropped_at, random_place
from pipeline.importance import noise_map, noisy_place
from pipeline.order import Order
from pipeline.pairs import Pair, PairsConfig, RealPairs
from pipeline.radiance import Planes, RendersConfig, network_input
from pipeline.randomness import draw_generators
from pipeline.realisations import RealisationSet
from pipeline.rendering.on_demand import RenderedSet

KEPT_MAPS = 4096  # of where the noise is; one is a few hundred numbers


class RenderPairDataset(RealPairs):
    """Pairs by draw number. The item of a list of draws is one batch.

    Everything random about a draw comes from one generator keyed by (seed, draw), in this order: crop, flips, source
    realisation, target realisation, and where crops may be important, another place. So every ordered pair of a
    frame's K realisations is met equally often; or the target is the mean of all but the source, which has less noise
    and the same mean. Auxiliary buffers are those of the source: the target's hold its noise. The target stays linear,
    exposed and unclipped.
    """

    def __init__(
        self,
        shards: RealisationSet | RenderedSet,
        order: Order,
        pairs: PairsConfig,
        renders: RendersConfig,
        seed: int,
    ) -> None:
        self.shards = shards
        self.order = order
        self.config = pairs
        self.renders = renders
        self.seed = seed
        self._noise: dict[tuple[int, int], NDArray[np.float64]] = {}

    def batch(self, draws: Sequence[int]) -> Pair:
        generators = draw_generators(self.seed, draws)
        pairs = [self.pair(int(s), g) for s, g in zip(self.order.samples(draws), generators, strict=True)]
        source, target = (torch.from_numpy(np.stack(views)) for views in zip(*pairs, strict=True))
        return Pair(source, target)

    def pair(self, sample: int, generator: Generator) -> tuple[Planes, Planes]:
        """(channels, crop, crop) for the network, and the radiance (3, crop, crop) that it is to be like."""
        place = random_place(generator)
        count = self.shards.realisations(sample)
        first = int(torch.randint(count, (), generator=generator))
        second = int(torch.randint(max(1, count - 1), (), generator=generator))
        second += second >= first
        about = self.shards.about(sample)
        exposure = float(about["exposure"])
        if self.renders.importance:
            place = self.important(sample, first, exposure, place, generator)
        names = ("color", *self.renders.buffers)
        have = self.shards.buffers(sample)
        source = {name: self.crop(sample, name, first, place) for name in names if name in have}
        if self.config.target == "clean":
            target = self.crop(sample, "reference", 0, place)
        elif self.renders.target == "one" or count <= 2:
            target = self.crop(sample, "color", second, place)
        else:
            spp = about.get("spp", [None])
            weights = [1] * count if None in spp else [samples or 1 for samples in spp]
            others = [number for number in range(count) if number != first]
            crops = [self.crop(sample, "color", number, place) for number in others]
            target = np.average(crops, axis=0, weights=[weights[number] for number in others])
        target = (target * exposure).astype(np.float32)
        return network_input(source, exposure, self.renders, self.shards.where(sample)), target

    def important(
        self, sample: int, realisation: int, exposure: float, place: list[float], generator: Generator
    ) -> list[float]:
        """The place, moved to where the source is noisy for a share of the draws; always takes four numbers."""
        chance, *numbers = random_place(generator)
        if chance >= self.renders.importance:
            return place
        noise = self._noise.get((sample, realisation))
        if noise is None:
            if len(self._noise) >= KEPT_MAPS:
                self._noise.clear()
            noise = noise_map(self.shards.pixels(sample, "color", realisation), exposure)
            self._noise[sample, realisation] = noise
        return [*noisy_place(noise, *self.shards.size(sample), self.config.crop, numbers), *place[2:]]

    def crop(self, sample: int, buffer: str, realisation: int, place: Sequence[float]) -> Planes:
        """Of a mapped array, only the rows of the crop are read."""
        pixels = self.shards.pixels(sample, buffer, realisation)
        return cropped_at(pixels, self.config.crop, self.config.flips, place).astype(np.float32)
