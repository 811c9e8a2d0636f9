"""Shards of a set elsewhere, fetched before they are needed: the order is known."""

import os
import threading
from collections.abc import Sequence
from heapq import merge
from itertools import chain, islice
from typing import Any

from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.order import Order
from pipeline.remote.cache import ShardCache
from pipeline.workers import Make

AGAIN_S = 5.0  # between two looks at what there is room for by now


class LookAhead:
    """Makes batches, while a thread of the process that makes them fetches what the next ones need.

    It only saves time: a shard that is not here when it is needed is fetched then, and what keeps it from coming is
    told then. The shards of a lane's window that this process has left stay as long as there is room: others may be
    behind.
    """

    def __init__(
        self,
        make: Make,
        order: Order,
        cache: ShardCache,
        lanes: Sequence[int],
        forks: bool,
    ) -> None:
        """`lanes` are those of all processes that share the cache, as what one of them does not need, another may.

        Where this process `forks` workers, it begins no thread, whose locks they would inherit; they do.
        """
        self.make, self.order, self.cache, self.lanes = make, order, cache, lanes
        self.passive = os.getpid() if forks else 0
        self.until = 0  # the row at which a lane enters another window
        self.here: dict[int, list[int]] = {}  # the shards of each lane's window, and of the one before
        self.before: dict[int, list[int]] = {}
        self.unasked: set[int] = set()
        self.moved = threading.Event()

    def __call__(self, draws: Sequence[int], into: Sequence[NDArray[Any]] = ()) -> Any:
        if os.getpid() != self.passive:
            row = self.order.row(min(draws))
            if row >= self.until:
                self.enter(row)
        return self.make(draws, into)

    def enter(self, row: int) -> None:
        """Tell the cache what is needed from here on, and let the thread fetch that."""
        windows = merge(*(self.order.windows_from(lane, row) for lane in self.lanes))
        here = {lane: shards for _, lane, shards in islice(windows, len(self.lanes))}
        self.before |= {lane: shards for lane, shards in self.here.items() if shards != here[lane]}
        now, left = list(chain(*here.values())), list(chain(*self.before.values()))
        need = dict.fromkeys([*now, *left])
        ahead = list(windows)
        coming = dict.fromkeys(chain(*(shards for _, _, shards in ahead)))
        others = set(self.cache.need).difference(need, coming)  # which no lane has until the next epoch has ended
        self.unasked = set(left).difference(now) | others
        self.cache.need = list(need | coming) + sorted(others)
        self.moved.set()
        if not self.here:
            threading.Thread(target=self.fetch_on, daemon=True).start()
        self.here, self.until = here, ahead[0][0]

    def fetch_on(self) -> None:
        """In the thread."""
        failed: set[int] = set()  # to be told by whoever needs it
        while True:
            self.moved.clear()
            for number in self.cache.ahead():
                if self.moved.is_set():
                    break
                if number not in self.unasked | failed:
                    try:
                        self.cache.fetch_ahead(number)
                    except BadInput:
                        failed.add(number)
            self.moved.wait(AGAIN_S)
