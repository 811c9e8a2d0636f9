"""Pairs: draw number -> (source, target), the same bytes on any number of ranks and workers, today or later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import Dataset

from pipeline.capture import Capture, captured_views, pick_versions, shared_generator
from pipeline.corruption import CorruptionConfig, clean_view, shown, two_views
from pipeline.corruptions.registry import View
from pipeline.crops import KeptPictures
from pipeline.errors import BadInput
from pipeline.geometry import random_crop, random_place, reflect_to, view_at
from pipeline.inject import CleanCrops, Inject, drawn_on_device, places, stack, unit
from pipeline.jpeg_part import decode_around
from pipeline.order import Order
from pipeline.philox import Philox
from pipeline.picture import Pixels, to_unit
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
    capture: Capture = "fresh"
    """fresh noise at every visit; or as if each picture had been photographed only so often: fixed, one noisy pair
    of it for ever; K >= 2, any two of its K noisy versions, in either order."""

    def __post_init__(self) -> None:
        if isinstance(self.capture, int) and self.capture < 2:
            raise ValueError(f"pairs.capture is {self.capture}; wanted fresh, fixed, or at least 2 noisy versions")
        if self.crop < 1:
            raise ValueError(f"pairs.crop is {self.crop}; wanted at least 1 pixel")


class Pair(NamedTuple):
    """A noisy source and its target: (N, C, H, W), float32, photographs around [0, 1], unclipped.

    The source is encoded as in the file; the target is what the network must put out, linear light for corruptions
    that happen in it.
    """

    source: Tensor
    target: Tensor


class MaskedPair(NamedTuple):
    """A pair whose target is not to be learnt everywhere."""

    source: Tensor
    target: Tensor
    weight: Tensor
    """Of the target's pixels in the loss: (N, 1, H, W), 0 where it says nothing about the clean picture."""


class MeasuredPair(NamedTuple):
    """A pair of which some frequencies of the source are known: the network's output is to be made consistent."""

    source: Tensor
    target: Tensor
    measured: Tensor
    """Which frequencies the source holds, and how: (N, 1, H, W // 2 + 1), see model/fourier.py."""


AnyPair = Pair | MaskedPair | MeasuredPair


class RealPairs(Dataset[Pair | BadInput]):
    """Pairs of what brings its own noise, by draw number: those who know a `batch` of draws."""

    def batch(self, draws: Sequence[int]) -> Pair:
        raise NotImplementedError

    def __getitem__(self, draws: Sequence[int]) -> Pair | BadInput:
        return self.make(draws)

    def make(self, draws: Sequence[int], _into: Sequence[NDArray[Any]] = ()) -> Pair | BadInput:
        """The batch of these draws; what is wrong with the data is returned, as PairDataset does."""
        try:
            return self.batch(draws)
        except BadInput as error:
            return error


class PairDataset(Dataset[AnyPair | CleanCrops | BadInput]):
    """Pairs by draw number. The item of a list of draws is one batch, made in one go.

    Everything random about a draw comes from one generator keyed by (seed, draw), in this order: crop, flips,
    source strength, source noise, target strength, target noise. So the two views' noises are independent, and a
    run with clean targets sees exactly the sources of the run with noisy ones. A limited capture budget keys
    strengths and noise by (seed, sample) instead, and the draw decides on the crop and on which versions meet.

    Noise that is injected on the device has other numbers, by another generator, in the same order; the item of a list
    of draws is then the clean crops, for `noisy` to be called where the network is.
    """

    def __init__(
        self,
        shards: ShardSet,
        order: Order,
        pairs: PairsConfig,
        corruption: CorruptionConfig,
        seed: int,
        inject: Inject = "worker",
    ) -> None:
        self.shards = shards
        self.order = order
        self.config = pairs
        self.corruption = corruption
        self.seed = seed
        self.on_device = drawn_on_device(inject, corruption, pairs.capture)
        self.deep = self.on_device and bool((shards.table["bits"] > 8).any())  # what workers ship is one kind for all
        self._kept = KeptPictures(order.crops.per_image)

    def __getitem__(self, draws: Sequence[int]) -> AnyPair | CleanCrops | BadInput:
        return self.make(draws)

    def make(self, draws: Sequence[int], into: Sequence[NDArray[Any]] = ()) -> AnyPair | CleanCrops | BadInput:
        """The batch of these draws; or what the device makes it of, `into` the arrays of a batch if there are any.

        What is wrong with the data is returned, to be raised where it is read: raised in a worker process, it would
        reach the user inside two tracebacks.
        """
        try:
            return self.crops(draws, into) if self.on_device else self.batch(draws)
        except BadInput as error:
            return error

    def crops(self, draws: Sequence[int], into: Sequence[NDArray[Any]] = ()) -> CleanCrops:
        """The clean crops of these draws, as they are stored; in the first array where one is given."""
        numbers = np.asarray(draws, dtype=np.int64)
        samples, where = self.order.samples(draws).tolist(), places(self.seed, numbers).tolist()
        cut = [self.view(sample, place) for sample, place in zip(samples, where, strict=True)]
        return CleanCrops(stack(cut, self.deep, into[0] if into else None), torch.from_numpy(numbers))

    def noisy(self, crops: CleanCrops) -> AnyPair:
        """The pairs of clean crops, on the device that these are on: the same for any other crops beside them."""
        clean = unit(crops.pixels)
        source, target = two_views(clean, self.corruption, Philox(self.seed, crops.draws))
        return self.pair(source, clean_view(clean, self.corruption) if self.config.target == "clean" else target)

    def batch(self, draws: Sequence[int]) -> AnyPair:
        if self.on_device:
            return self.noisy(self.crops(draws))
        samples = self.order.samples(draws)
        generators = draw_generators(self.seed, draws)
        visits = [(int(sample), generator) for sample, generator in zip(samples, generators, strict=True)]
        if self.config.capture != "fresh":
            captured = [self.captured(*visit) for visit in visits]
            source, target = (join(views) for views in zip(*captured, strict=True))
            return self.pair(source, target)
        clean = torch.empty(len(visits), 3, self.config.crop, self.config.crop)
        for there, visit in zip(clean.numpy(), visits, strict=True):
            to_unit(self.crop(*visit), there)
        source, target = two_views(clean, self.corruption, generators)
        if self.config.target == "clean":
            target = clean_view(clean, self.corruption)
        return self.pair(source, target)

    def pixels(self, sample: int) -> Pixels:
        """The decoded picture of a sample; one that is stored decoded is a view of its file, and need not be kept."""
        mapped = self.shards.mapped(sample)
        return self._kept.get(sample, self.decoded) if mapped is None else mapped

    def decoded(self, sample: int) -> Pixels:
        """Laid out by channels where that pays: for several crops of it."""
        pixels = self.shards.pixels(sample)
        return pixels if self.order.crops.per_image == 1 else np.ascontiguousarray(pixels)

    def crop(self, sample: int, generator: Generator) -> Pixels:
        """The view of a sample that the generator crops, not to be written to."""
        return self.view(sample, random_place(generator))

    def view(self, sample: int, place: Sequence[float]) -> Pixels:
        """The same at a given place. A picture that is cropped but once at a visit need not be decoded whole."""
        size, flips = self.config.crop, self.config.flips
        pixels = self.pixels(sample) if self.order.crops.per_image > 1 else self.shards.mapped(sample)
        if pixels is not None:
            return view_at(pixels, size, flips, place)
        stored = self.shards.read(sample)
        return view_at(decode_around(stored.data, stored, size, place), size, flips, place)

    def captured(self, sample: int, generator: Generator) -> tuple[View, View]:
        """A crop of two of the sample's noisy versions, or of a noisy and the clean one."""
        capture = self.config.capture
        local = self.corruption.law.local
        if local:
            clean = torch.from_numpy(to_unit(reflect_to(self.pixels(sample), self.config.crop)))
        else:  # what has been captured is one crop of it, for ever
            clean = torch.from_numpy(to_unit(self.crop(sample, shared_generator(self.seed, sample))))
        versions = pick_versions(capture, generator)
        budget = 2 if capture == "fixed" else int(capture)
        source, target = captured_views(clean, self.corruption, self.seed, sample, versions, budget)
        if self.config.target == "clean":
            target = clean_view(clean, self.corruption)
        return self.cropped(source, target, generator) if local else (source, target)

    def cropped(self, source: View, target: View, generator: Generator) -> tuple[View, View]:
        """The same crop and flips of everything."""
        planes = [plane for plane in (*source, *target) if plane is not None]
        crop = random_crop(torch.cat(planes).numpy(), self.config.crop, self.config.flips, generator)
        parts = iter(torch.split(torch.from_numpy(crop), [len(plane) for plane in planes]))
        views = [View(next(parts), None if view.weight is None else next(parts)) for view in (source, target)]
        return views[0], views[1]

    def pair(self, source: View, target: View) -> AnyPair:
        inputs = shown(source, self.corruption)
        if source.measured is not None:
            return MeasuredPair(inputs, target.pixels, source.measured)
        if target.weight is not None:
            return MaskedPair(inputs, target.pixels, target.weight)
        return Pair(inputs, target.pixels)


def join(views: Sequence[View]) -> View:
    """Single views as a batch."""
    pixels, *others = zip(*views, strict=True)
    return View(torch.stack(pixels), *(None if other[0] is None else torch.stack(other) for other in others))
