"""One sample of a set of realisations, before it is written."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.sharding.storage import edges

DTYPES = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<f2"), np.dtype("<f4"))
REFERENCE = "reference"


@dataclass(frozen=True)
class Realisations:
    """One sample of a set of realisations: the same thing K times, each with its own noise."""

    buffers: dict[str, list[NDArray[Any]]]
    """By name, such as color or albedo: K arrays each of (C, H, W), uint8, uint16, float16 or float32. What belongs
    to realisation i of one buffer is realisation i of the others."""
    reference: NDArray[Any] | None = None
    """The same without noise, where it is known: for validation alone."""
    about: dict[str, Any] = field(default_factory=dict)
    """What KEY.json says; `realisations`, `width` and `height` are added."""

    @property
    def count(self) -> int:
        return len(next(iter(self.buffers.values())))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = next(iter(self.buffers.values()))[0].shape[1:]
        return height, width

    def __post_init__(self) -> None:
        """Raises BadInput where it is no sample: of another shape, type, or number of realisations."""
        where = self.about.get("source", "a scene")
        if not self.buffers or len({len(arrays) for arrays in self.buffers.values()}) != 1 or not self.count:
            counts = {name: len(arrays) for name, arrays in self.buffers.items()}
            raise BadInput("not a set of realisations", where, str(counts), "every buffer equally often")
        for name, _, array in self.members():
            if not re.fullmatch("[a-z][a-z0-9_]{0,15}", name) or name == "json":
                raise BadInput("a buffer of an unfit name", where, name, "small letters, digits and _, at most 16")
            if array.ndim != 3 or array.shape[1:] != self.size or array.dtype not in DTYPES:
                wanted = f"(C, {self.size[0]}, {self.size[1]}) of uint8, uint16, float16 or float32"
                raise BadInput(f"a {name} buffer that does not fit", where, f"{array.dtype} {array.shape}", wanted)

    def members(self) -> list[tuple[str, int | None, NDArray[Any]]]:
        """Buffer, realisation (None for the reference) and pixels of every array."""
        found: list[tuple[str, int | None, NDArray[Any]]] = [
            (name, number, array) for name, arrays in self.buffers.items() for number, array in enumerate(arrays)
        ]
        return found + ([(REFERENCE, None, self.reference)] if self.reference is not None else [])

    def cut(self, side: int) -> "list[Realisations]":
        """As tiles of at most `side` pixels, the same of every array; 0, or a side that is large enough: as it is."""
        height, width = self.size
        if not side or max(height, width) <= side:
            return [self]
        rows, columns = edges(height, side), edges(width, side)
        return [self._tile(slice(*row), slice(*column)) for row in rows for column in columns]

    def _tile(self, rows: slice, columns: slice) -> "Realisations":
        buffers = {name: [array[:, rows, columns] for array in arrays] for name, arrays in self.buffers.items()}
        reference = None if self.reference is None else self.reference[:, rows, columns]
        return Realisations(buffers, reference, {**self.about, "tile": [rows.start, columns.start]})
