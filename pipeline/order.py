"""Which sample a draw is: a pure function of (seed, draw) that knows no rank, no worker and no clock."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.crops import Crops
from pipeline.errors import BadInput
from pipeline.randomness import key, permute

ONE_CROP = Crops()
CHUNK = 1024  # draws whose samples are found at once
CHUNKS = 64  # that are kept, as small batches are of other lanes every time


class Order:
    """An infinite sequence of epochs; each visits every sample once, in an order of its own.

    Shards are permuted per epoch into a line, which is cut into `lanes` streams of equal length. They take turns: visit
    v is that of stream v modulo `lanes`, so whoever makes the visits of one stream opens its part of the shards alone.
    Along a stream samples are permuted within windows of `window` shards. A window of all of a stream's (0) is a full
    shuffle of it, for local disks; a small one keeps the part of a remote set that is in use at one time small. Memory
    is a few numbers a shard. Of several streams an epoch leaves out fewer samples than there are streams, others every
    time. With several crops a picture, a visit is as many draws, spread as `Crops` says.
    """

    def __init__(
        self, seed: int, samples_per_shard: Sequence[int], window: int = 0, crops: Crops = ONE_CROP, lanes: int = 1
    ) -> None:
        """Raises BadInput where there are fewer shards than lanes."""
        self.seed = seed
        self.crops = crops
        self.lanes = lanes
        self.counts = np.asarray(samples_per_shard, dtype=np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.counts)])  # first sample of each shard in the set
        self.total = int(self.first[-1])
        self.window = window or len(self.counts)
        if self.total == 0:
            raise ValueError("an order needs at least one sample")
        shards = int(np.count_nonzero(self.counts))
        if shards < lanes:
            got, todo = f"{lanes} lanes over {shards} shards", "set loader.lanes=1, or make smaller shards"
            raise BadInput("fewer shards than lanes", "loader.lanes", got, "a shard for every lane, better ten", todo)
        self.length = self.total // lanes  # visits of a lane in an epoch
        self._epoch = lru_cache(maxsize=2)(self._lay_out_epoch)  # a batch spans two epochs at most
        self._chunk = lru_cache(maxsize=CHUNKS)(self._lay_out_chunk)

    def samples(self, draws: Sequence[int]) -> NDArray[np.int64]:
        """The sample (position in the set) of each draw."""
        wanted = np.asarray(draws, dtype=np.int64)
        turns, lanes = np.divmod(wanted, self.lanes)
        asked = np.zeros(self.lanes, dtype=bool)
        asked[lanes] = True
        columns = np.cumsum(asked)
        rows = max(1, CHUNK // max(1, int(columns[-1])))
        if 0 < len(wanted) <= CHUNK and turns.min() // rows == turns.max() // rows:
            chunk = self._chunk(int(turns[0]) // rows, rows, asked.tobytes())
            return np.asarray(chunk[turns % rows, columns[lanes] - 1])
        return self._samples(wanted)

    def row(self, draw: int) -> int:
        """How many visits each lane has had before a draw's."""
        return int(self.crops.visits(self.seed, [draw])[0]) // self.lanes

    def epoch(self, draw: int) -> int:
        return self.row(draw) // self.length

    def windows_from(self, lane: int, row: int) -> Iterator[tuple[int, int, list[int]]]:
        """The window of a lane at a row, and those after it to the end of the next epoch.

        Of each the row at which it begins, the lane, and its shards.
        """
        first, begin = row // self.length, lane * self.length
        for epoch in (first, first + 1):
            shards, starts, windows = self._epoch(epoch)
            here = max(row - epoch * self.length, 0) + begin
            low = int(np.searchsorted(windows, here, side="right")) - 1
            high = int(np.searchsorted(windows, begin + self.length, side="left"))
            edges = windows[low : high + 1]
            lows, highs = np.searchsorted(starts, edges[:-1], side="right") - 1, np.searchsorted(starts, edges[1:])
            begins = edges[:-1] + (epoch * self.length - begin)
            for at, one, other in zip(begins.tolist(), lows.tolist(), highs.tolist(), strict=True):
                yield at, lane, shards[one:other].tolist()

    def _lay_out_chunk(self, chunk: int, rows: int, asked: bytes) -> NDArray[np.int64]:
        """The samples of the lanes that are asked for, (rows, lanes).

        Of a batch alone, nearly all of the time would go into calling numpy.
        """
        lanes = np.flatnonzero(np.frombuffer(asked, dtype=bool))
        draws = (np.arange(chunk * rows, (chunk + 1) * rows) * self.lanes)[:, None] + lanes
        return self._samples(draws.ravel()).reshape(draws.shape)

    def _samples(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        rows, lanes = np.divmod(self.crops.visits(self.seed, draws), self.lanes)
        epochs, rows = np.divmod(rows, self.length)
        places = lanes * self.length + rows
        result = np.empty(len(places), dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            result[here] = self._samples_of_epoch(int(epoch), places[here])
        return result

    def _samples_of_epoch(self, epoch: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of places along the epoch's line of shards, which are permuted within their windows."""
        shards, starts, windows = self._epoch(epoch)
        used, of = np.unique(np.searchsorted(windows, places, side="right") - 1, return_inverse=True)
        begins, sizes = windows[used], windows[used + 1] - windows[used]
        keys = np.array([key(self.seed, epoch, window) for window in used.tolist()], dtype=np.uint64)
        slots = begins[of] + permute(places - begins[of], sizes[of], keys[of])
        where = np.searchsorted(starts, slots, side="right") - 1
        return np.asarray(self.first[shards[where]] + slots - starts[where])

    def _lay_out_epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The epoch's shards in order, and the places at which each of them and each window begins, with the end."""
        number = len(self.counts)
        shards = permute(np.arange(number), number, key(self.seed, epoch))
        starts = np.concatenate([[0], np.cumsum(self.counts[shards])])
        cuts = np.arange(self.lanes) * self.length
        opens = np.searchsorted(starts, cuts)  # the first shard of each lane, unless it begins within one
        within = starts[opens] != cuts
        lane = np.searchsorted(cuts, starts[:-1], side="right") - 1
        whole = (np.arange(number) - (opens - within)[lane]) % self.window == 0
        windows = np.sort(np.concatenate([starts[:-1][whole], cuts[within], [self.total]]))
        return shards, starts, windows

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in ("_epoch", "_chunk")}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._epoch = lru_cache(maxsize=2)(self._lay_out_epoch)
        self._chunk = lru_cache(maxsize=CHUNKS)(self._lay_out_chunk)
