"""Open files, as many as a process may keep."""

import os
from collections import OrderedDict
from pathlib import Path

OPEN_FILES = 128  # a process may hold 1,024 descriptors by default, and a set may have more shards


class Descriptors:
    """File descriptors for reading, kept open; the one not used for the longest time is closed first."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()

    def get(self, path: Path) -> int:
        """Raises OSError where the file cannot be opened."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._open[path]

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()
