"""Which sample a draw is: a pure function of (seed, draw) that knows no rank, no worker and no clock."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.crops import Crops
from pipeline.randomness import key, permute

ONE_CROP = Crops()
CHUNK = 1024  # draws whose samples are found at once


class Order:
    """An infinite sequence of epochs; each visits every sample once, in an order of its own.

    Shards are permuted per epoch and grouped into windows of `window` consecutive ones; samples are permuted
    within a window. A window of all shards (0) is a full shuffle, for local disks; a small one keeps the part of
    a remote set that is in use at one time small. Memory is a few numbers a shard. With several crops a picture, a
    visit is as many draws, spread as `Crops` says.
    """

    def __init__(self, seed: int, samples_per_shard: Sequence[int], window: int = 0, crops: Crops = ONE_CROP) -> None:
        self.seed = seed
        self.crops = crops
        self.counts = np.asarray(samples_per_shard, dtype=np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.counts)])  # first sample of each shard in the set
        self.total = int(self.first[-1])
        self.window = window or len(self.counts)
        if self.total == 0:
            raise ValueError("an order needs at least one sample")
        self._epoch = lru_cache(maxsize=2)(self._lay_out_epoch)  # a batch spans two epochs at most
        self._chunk = lru_cache(maxsize=2)(self._lay_out_chunk)

    def samples(self, draws: Sequence[int]) -> NDArray[np.int64]:
        """The sample (position in the set) of each draw."""
        wanted = np.asarray(draws, dtype=np.int64)
        if 0 < len(wanted) <= CHUNK and wanted.min() // CHUNK == wanted.max() // CHUNK:
            return self._chunk(int(wanted[0]) // CHUNK)[wanted % CHUNK]
        return self._samples(wanted)

    def window_of(self, draw: int) -> tuple[int, int]:
        """In which window of which epoch a draw's visit is."""
        epoch, position = divmod(int(self.crops.visits(self.seed, [draw])[0]), self.total)
        _, starts = self._epoch(epoch)
        return epoch, (int(np.searchsorted(starts, position, side="right")) - 1) // self.window

    def windows_from(self, epoch: int, window: int) -> Iterator[list[int]]:
        """The shards of that window and of all after it, for ever."""
        while True:
            shards, _ = self._epoch(epoch)
            for first in range(window * self.window, len(shards), self.window):
                yield shards[first : first + self.window].tolist()
            epoch, window = epoch + 1, 0

    def _lay_out_chunk(self, chunk: int) -> NDArray[np.int64]:
        """Of a batch alone, nearly all of the time would go into calling numpy."""
        return self._samples(np.arange(chunk * CHUNK, (chunk + 1) * CHUNK))

    def _samples(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        epochs, positions = np.divmod(self.crops.visits(self.seed, draws), self.total)
        result = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            result[here] = self._samples_of_epoch(int(epoch), positions[here])
        return result

    def _samples_of_epoch(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        shards, starts = self._epoch(epoch)
        slots = np.empty_like(positions)  # places along the epoch's line of shards, after the shuffle in windows
        windows = (np.searchsorted(starts, positions, side="right") - 1) // self.window
        for window in np.unique(windows):
            here = windows == window
            begin = int(starts[window * self.window])
            end = int(starts[min((int(window) + 1) * self.window, len(shards))])
            slots[here] = begin + permute(positions[here] - begin, end - begin, key(self.seed, epoch, int(window)))
        places = np.searchsorted(starts, slots, side="right") - 1
        return np.asarray(self.first[shards[places]] + slots - starts[places])

    def _lay_out_epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The epoch's shards in order, and the position at which each begins (with the end appended)."""
        number = len(self.counts)
        shards = permute(np.arange(number), number, key(self.seed, epoch))
        return shards, np.concatenate([[0], np.cumsum(self.counts[shards])])

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in ("_epoch", "_chunk")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._epoch = lru_cache(maxsize=2)(self._lay_out_epoch)
        self._chunk = lru_cache(maxsize=2)(self._lay_out_chunk)
