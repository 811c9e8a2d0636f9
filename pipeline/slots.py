"""Batches in memory that processes share, used again and again: to make and first touch a fresh one costs as much as
to draw its noise.
"""

import mmap
import weakref
from collections import deque
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGN = 64  # bytes of a cache line


class Slots:
    """So many batches like one that is shown, of `rows` rows, in memory that processes forked from now on share.

    It is anonymous: it has no name to be left behind, and takes nothing of /dev/shm, which containers keep small.
    """

    def __init__(self, like: Sequence[Tensor], rows: int, count: int) -> None:
        self.kind: Any = type(like)
        shapes = [((rows, *part.shape[1:]), part.numpy().dtype) for part in like]
        sizes = [-(-prod(shape) * dtype.itemsize // ALIGN) * ALIGN for shape, dtype in shapes]
        self._memory = mmap.mmap(-1, max(1, count * sum(sizes)))
        self._slots: list[list[NDArray[Any]]] = []
        offset = 0
        for _ in range(count):
            parts = []
            for (shape, dtype), size in zip(shapes, sizes, strict=True):
                parts.append(np.frombuffer(self._memory, dtype, prod(shape), offset).reshape(shape))
                offset += size
            self._slots.append(parts)
        self.free = deque(range(count))
        self.lent: dict[int, int] = {}
        """How many parts of a slot somebody still has."""

    def parts(self, slot: int) -> Sequence[NDArray[Any]]:
        """What a slot consists of, to be written to."""
        return self._slots[slot]

    def fill(self, slot: int, rows: Sequence[int] | slice, batch: Sequence[Tensor]) -> None:
        """Write some rows of a slot; what has been made in it is there.

        Raises ValueError where they are of another kind, as that would be a mistake.
        """
        for there, part in zip(self._slots[slot], batch, strict=True):
            ours = part.numpy()
            if ours.ctypes.data == there.ctypes.data:
                continue
            if ours.dtype != there.dtype or ours.shape[1:] != there.shape[1:]:
                raise ValueError(f"{ours.dtype} {ours.shape[1:]} for a slot of {there.dtype} {there.shape[1:]}")
            there[rows] = ours

    def lend(self, slot: int) -> Any:
        """The batch in a slot, which is free again once nothing refers to any of its parts or views of them."""
        views = [part[:] for part in self._slots[slot]]
        self.lent[slot] = len(views)
        for view in views:  # a tensor keeps the array that it was made of, and so do all its views
            weakref.finalize(view, self._returned, slot).atexit = False
        return self.kind(*(torch.from_numpy(view) for view in views))

    def copy(self, slot: int, pin: bool) -> Any:
        """The batch in a slot, copied, so that the slot is free at once."""
        parts = [torch.from_numpy(part) for part in self._slots[slot]]
        batch = self.kind(*(part.pin_memory() if pin else part.clone() for part in parts))
        self.free.append(slot)
        return batch

    def _returned(self, slot: int) -> None:
        self.lent[slot] -= 1
        if not self.lent[slot]:
            del self.lent[slot]
            self.free.append(slot)
