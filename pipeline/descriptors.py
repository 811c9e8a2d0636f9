"""Open files, as many as a process may keep."""

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPEN_FILES = 128  # a process may hold 1,024 descriptors by default, and a set may have more shards


def open_path(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class Descriptors:
    """File descriptors for reading, kept open; the one not used for the longest time is closed first."""

    def __init__(self) -> None:
        self._open: OrderedDict[Any, int] = OrderedDict()

    def get(self, name: Any, opened: Callable[[Any], int] = open_path) -> int:
        """That of a file by its path, or by whatever else `opened` opens. Raises what that raises."""
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        if len(self._open) >= OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        self._open[name] = opened(name)
        return self._open[name]

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()
