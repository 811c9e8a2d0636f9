"""Pairs of renders: draw number -> two realisations of a frame, one as source with its own buffers, one as target."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator
from torch.utils.data import Dataset

from pipeline.errors import BadInput
from pipeline.geometry import cropped_at, random_place
from pipeline.order import Order
from pipeline.pairs import Pair, PairsConfig
from pipeline.radiance import Planes, RendersConfig, network_input
from pipeline.randomness import draw_generators
from pipeline.realisations import RealisationSet


class RenderPairDataset(Dataset[Pair | BadInput]):
    """Pairs by draw number. The item of a list of draws is one batch.

    Everything random about a draw comes from one generator keyed by (seed, draw), in this order: crop, flips, source
    realisation, target realisation. So every ordered pair of a frame's K realisations is met equally often; or the
    target is the mean of all but the source, which has less noise and the same mean. Auxiliary buffers are those of
    the source: the target's hold its noise. The target stays linear, exposed and unclipped.
    """

    def __init__(
        self, shards: RealisationSet, order: Order, pairs: PairsConfig, renders: RendersConfig, seed: int
    ) -> None:
        self.shards = shards
        self.order = order
        self.config = pairs
        self.renders = renders
        self.seed = seed

    def __getitem__(self, draws: Sequence[int]) -> Pair | BadInput:
        """The batch of these draws; what is wrong with the data is returned, to be raised where it is read."""
        try:
            return self.batch(draws)
        except BadInput as error:
            return error

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

    def crop(self, sample: int, buffer: str, realisation: int, place: Sequence[float]) -> Planes:
        """Of a mapped array, only the rows of the crop are read."""
        pixels = self.shards.pixels(sample, buffer, realisation)
        return cropped_at(pixels, self.config.crop, self.config.flips, place).astype(np.float32)
