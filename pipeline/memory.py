"""How this process takes memory from the system."""

import contextlib
import ctypes

LARGEST = 1 << 30


def keep_freed_memory(block_bytes: int = LARGEST) -> None:
    """Tell glibc to keep freed blocks of up to `block_bytes`, twice that in all but at most a GiB, for what comes next.

    A training step frees and takes the same ones again and again, as does a loader's worker, and fresh pages from the
    kernel cost up to a quarter of a step on the CPU; of sharding a tenth, at nine page faults a photograph.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(AttributeError, OSError):  # another C library: slower, not wrong
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, block_bytes)
        libc.mallopt(m_trim_threshold, min(2 * block_bytes, LARGEST))
