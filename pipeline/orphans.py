"""Processes that serve the one that started them: they end with it, however that ended, and heed its signals alone."""

import multiprocessing
import os
import select
import signal
import threading
from multiprocessing.connection import wait

DEAF_TO = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # a scheduler sends them to all of a job's processes


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


def die_with_peer(descriptor: int) -> None:
    """The same for a process at one end of a socket: it ends when nobody holds the other, in the midst of its work."""
    end = select.poll()
    end.register(descriptor, 0)  # the end is told unasked, and nothing else

    def follow() -> None:
        end.poll()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
