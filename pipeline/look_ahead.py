"""Shards of a set elsewhere, fetched before they are needed: the order is known."""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.errors import BadInput
from pipeline.order import Order
from pipeline.shard_cache import ShardCache

AGAIN_S = 5.0  # between two looks at what there is room for by now


class LookAhead:
    """Makes batches, while a thread of the process that makes them fetches what the next ones need.

    It only saves time: a shard that is not here when it is needed is fetched then, and what keeps it from coming is
    told then. The shards of the window that this process has left stay as long as there is room: others may be behind.
    """

    def __init__(self, make: Callable[[Sequence[int]], Any], order: Order, cache: ShardCache, forks: bool) -> None:
        """Where this process `forks` workers, it begins no thread, whose locks they would inherit; they do."""
        self.make, self.order, self.cache = make, order, cache
        self.passive = os.getpid() if forks else 0
        self.window: tuple[int, int] | None = None
        self.here: list[int] = []
        self.left: set[int] = set()
        self.moved = threading.Event()

    def __call__(self, draws: Sequence[int]) -> Any:
        if os.getpid() != self.passive:
            window = self.order.window_of(min(draws))
            if window != self.window:
                self.enter(window)
        return self.make(draws)

    def enter(self, window: tuple[int, int]) -> None:
        """Tell the cache what is needed from here on, and let the thread fetch that."""
        windows = self.order.windows_from(*window)
        before, self.here = self.here, next(windows)
        self.left = set(before).difference(self.here)
        need = dict.fromkeys([*self.here, *before])
        while len(need) < len(self.cache.need):
            need.update(dict.fromkeys(next(windows)))
        self.cache.need = list(need)
        self.moved.set()
        if self.window is None:
            threading.Thread(target=self.fetch_on, daemon=True).start()
        self.window = window

    def fetch_on(self) -> None:
        """In the thread."""
        failed: set[int] = set()  # to be told by whoever needs it
        while True:
            self.moved.clear()
            for number in self.cache.ahead():
                if self.moved.is_set():
                    break
                if number not in self.left | failed:
                    try:
                        self.cache.fetch_ahead(number)
                    except BadInput:
                        failed.add(number)
            self.moved.wait(AGAIN_S)
