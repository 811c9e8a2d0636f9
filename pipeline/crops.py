"""Several crops of one decoded picture: which visit of a picture a draw belongs to, and pictures kept until then."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import gcd

import numpy as np
from numpy.typing import NDArray

from pipeline.picture import Pixels
from pipeline.randomness import key, mix

LANES = 64  # crops of one picture are a multiple of so many draws apart, so one process can make all of them
KEPT_BYTES = 1 << 28  # of decoded pictures in a process


@dataclass(frozen=True)
class Crops:
    """How often each visit of a picture is cropped, and among how many visits the crops are mixed."""

    per_image: int = 1
    spread: int = 8 * LANES

    def __post_init__(self) -> None:
        if self.spread < 2 * LANES or self.spread % (2 * LANES):
            raise ValueError(f"loader.crops_spread is {self.spread}; wanted a multiple of {2 * LANES}")

    @property
    def nearest(self) -> int:
        """The least distance, in draws, of two crops of one visit: fewer consecutive draws hold no siblings."""
        return self.spread // 2 + LANES if self.per_image > 1 else 1 << 62

    def visits(self, seed: int, draws: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """The visit (position in the order of pictures) of each draw; every visit has `per_image` draws.

        `spread` visits are gone through `per_image` times. Every time, each of LANES interleaved lanes of each half
        is turned by an amount of its own. So siblings meet other pictures at every visit, never each other, and the
        draw's number modulo LANES, hence the rank and the worker that may still have the picture, is theirs as well.
        """
        draws = np.asarray(draws, dtype=np.int64)
        if self.per_image == 1:
            return draws
        half = self.spread // 2
        block, position = np.divmod(draws, self.spread * self.per_image)
        turn, position = np.divmod(position, self.spread)
        side, position = np.divmod(position, half)
        step, lane = np.divmod(position, LANES)
        number = ((block * self.per_image + turn) * 2 + side) * LANES + lane  # of what is turned alike
        angle = mix(np.uint64(key(seed, LANES, self.per_image)) + number.astype(np.uint64)) >> np.uint64(32)
        step = (step + angle.astype(np.int64)) % (half // LANES)
        return np.asarray(block * self.spread + side * half + step * LANES + lane)

    def lanes(self, global_batch: int) -> int:
        """By which divisor of LANES draws can be dealt so that siblings stay together: 1 where there are none."""
        return gcd(LANES, global_batch) if self.per_image > 1 else 1


@dataclass
class KeptPictures:
    """Decoded pictures that will be cropped again, at most KEPT_BYTES of them; the oldest are let go first."""

    crops: int
    limit: int = KEPT_BYTES
    bytes: int = 0
    _kept: OrderedDict[int, tuple[Pixels, int]] = field(default_factory=OrderedDict)

    def get(self, sample: int, decode: Callable[[int], Pixels]) -> Pixels:
        """The picture, decoded if it is not here; forgotten once it has been asked for as often as it is cropped."""
        if self.crops == 1:
            return decode(sample)
        found = self._kept.pop(sample, None)
        pixels, uses = found or (decode(sample), 0)
        self.bytes -= pixels.nbytes if found else 0
        if uses + 1 < self.crops:
            self._kept[sample] = pixels, uses + 1
            self.bytes += pixels.nbytes
        while self.bytes > self.limit:
            self.bytes -= self._kept.popitem(last=False)[1][0].nbytes
        return pixels
