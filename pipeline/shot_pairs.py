"""Pairs of real shots: draw number -> two of a scene's shots, cropped alike; a pure function of (seed, draw)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import BadInput
from pipeline.geometry import cropped_at, random_place
from pipeline.order import Order
from pipeline.pairs import Pair, PairsConfig, RealPairs
from pipeline.picture import Pixels
from pipeline.randomness import draw_generators, key
from pipeline.realisations import RealisationSet

SHOTS = 0x73686F74  # of the key: which pair of a scene is its first


class ShotPairs(RealPairs):
    """Source and target are two shots of one scene, all ordered pairs of them in turn.

    A scene is visited once an epoch. At its visit number v it shows ordered pair (start + v) modulo K (K - 1) of its
    K shots, start keyed by (seed, scene); so after K (K - 1) epochs every shot has been shown to every other once,
    in both directions. Crop and flips are the draw's own, and the same for both.
    """

    def __init__(self, shards: RealisationSet, order: Order, pairs: PairsConfig, seed: int) -> None:
        """Raises BadInput where a scene has no two shots, or clean targets are wanted and it has no reference."""
        self.shards = shards
        self.order = order
        self.config = pairs
        self.seed = seed
        self.scale = Scale(shards)
        lacking = shards.table["reference" if pairs.target == "clean" else "realisations"]
        least = 1 if pairs.target == "clean" else 2
        if int(lacking.min()) < least:
            wanted = "a reference" if pairs.target == "clean" else "two realisations"
            sample = int(np.argmin(lacking))
            raise BadInput("a scene that cannot train", shards.where(sample), f"pairs.target {pairs.target}", wanted)

    def batch(self, draws: Sequence[int]) -> Pair:
        samples = self.order.samples(draws)
        generators = draw_generators(self.seed, draws)
        views = []
        for draw, sample, generator in zip(draws, samples, generators, strict=True):
            place = random_place(generator)
            first, second = self.shots(draw, int(sample))
            other = ("reference", 0) if self.config.target == "clean" else ("color", second)
            views.append([self.view(int(sample), *shot, place) for shot in (("color", first), other)])
        return Pair(*(torch.stack(column) for column in zip(*views, strict=True)))

    def shots(self, draw: int, sample: int) -> tuple[int, int]:
        """Which shot is the source of a draw, and which its target."""
        count = self.shards.realisations(sample)
        capture = self.config.capture
        if capture == "fixed" or count < 2:
            return 0, min(1, count - 1)
        if isinstance(capture, int):
            count = min(count, capture)
        visit = self.order.epoch(draw)
        number = (key(self.seed, SHOTS, sample) + visit) % (count * (count - 1))
        first, other = divmod(number, count - 1)
        return first, other + (other >= first)

    def view(self, sample: int, buffer: str, number: int, place: Sequence[float]) -> Tensor:
        """The same part of any of a scene's arrays for the same place."""
        pixels = self.shards.pixels(sample, buffer, number)
        return self.scale(cropped_at(pixels, self.config.crop, self.config.flips, place))


class Scale:
    """Stored values -> what the network sees: white is 1, and grey scenes are repeated where others have colour."""

    def __init__(self, shards: RealisationSet) -> None:
        self.white = float(shards.index.options.get("white") or 0)
        kinds = [entry for entry in shards.index.statistics["buffers"] if entry["buffer"] == "color"]
        self.channels = max(int(entry["channels"]) for entry in kinds)
        """Of the network, in and out: 1 where all is grey."""

    def __call__(self, pixels: Pixels) -> Tensor:
        """(C, H, W) as stored -> float32, unclipped; integers by their greatest value where no white was given."""
        white = self.white or (float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0)
        unit = torch.from_numpy(pixels.astype(np.float32) / np.float32(white))
        return unit.expand(self.channels, -1, -1).contiguous() if len(unit) < self.channels else unit
