"""Processes that end with the one that started them, however that ended."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def die_with_parent() -> None:
    """To be called in a process that `multiprocessing` has started.

    An orphan would go on writing what the same command, run again, is writing. A thread waits for the parent's end: a
    process that is killed can tell its children nothing, and a pool's wait for work for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
