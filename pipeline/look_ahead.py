"""Shards of a set elsewhere, fetched before they are needed, as their order is known."""

import threading
import time

from pipeline.errors import BadInput
from pipeline.shard_cache import ShardCache

THREADS = 4
LOOK_S = 0.5  # between two looks at where the training is, or at a shard that another process fetches
FAILED_S = 30.0  # before another try of one that could not be had


class LookAhead:
    """Threads that fetch this window's shards and the next one's, beside those of other processes on the node.

    To be started only in a process that forks no more: a forked one would keep the locks that these hold. What cannot
    be had is left to who needs it, and will say so.
    """

    def __init__(self, cache: ShardCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._not_before: dict[int, float] = {}
        self._stopped = threading.Event()
        for _ in range(THREADS):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            number = self._take()
            if number is None:
                self._stopped.wait(LOOK_S)
                continue
            try:
                pause_s = 0.0 if self._cache.fetch(number, wait=False) else LOOK_S
            except BadInput:
                pause_s = FAILED_S
            with self._lock:
                self._not_before[number] = time.monotonic() + pause_s
                self._taken.discard(number)

    def _take(self) -> int | None:
        """The next missing shard that nobody else is at; None where there is none."""
        with self._lock:
            here, now = self._cache.present(), time.monotonic()
            for number in self._cache.soon():
                waits = number in self._taken or self._not_before.get(number, now) > now
                if not waits and self._cache.index.shards[number].name not in here:
                    self._taken.add(number)
                    return number
        return None

    def close(self) -> None:
        self._stopped.set()
