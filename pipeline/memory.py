"""How this process takes memory from the system."""

import contextlib
import ctypes


def keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks: a training step frees and takes the same ones again and again, as does a
    loader's worker, and fresh pages from the kernel cost up to a quarter of a step on the CPU.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(AttributeError, OSError):  # another C library: slower, not wrong
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, 1 << 31 - 1)
