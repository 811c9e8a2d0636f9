"""Training and validation parts of a listing, by a hash of each picture's group: nothing leaks, and nothing moves.

A picture's part depends on its name alone, so a set that grows keeps what it has where it was. What belongs
together stays together: a picture in two formats, or (by folder) everything of one scene, burst or patient.
"""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.sources.listing import Sources

REST = "train"
S = TypeVar("S")


@dataclass(frozen=True)
class Split:
    """A share of the groups, under a name; the others are the part "train"."""

    name: str
    share: float
    group_by: Literal["file", "folder"] = "file"

    @classmethod
    def parse(cls, text: str, group_by: Literal["file", "folder"]) -> "Split":
        match = re.fullmatch(r"([a-z][a-z0-9_-]*)=(0?\.\d+)", text)
        if match is None or match[1] == REST or not 0 < float(match[2]) < 1:
            raise BadInput("an impossible split", "--split", text, "a name and a share, such as val=0.05")
        return cls(match[1], float(match[2]), group_by)

    def describe(self, part: str) -> str:
        return f"{part} of {self.name}={self.share} by {self.group_by}"

    def part(self, name: bytes) -> str:
        digest = hashlib.blake2b(self.group(name), digest_size=8).digest()
        return self.name if int.from_bytes(digest, "little") < self.share * 2**64 else REST

    def group(self, name: bytes) -> bytes:
        """A name without its suffix, or without its last part."""
        folder, _, base = name.rpartition(b"/")
        return folder if self.group_by == "folder" else folder + b"/" + (base.rpartition(b".")[0] or base)

    def parts(self, sources: Sources, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """The chosen positions of each part. Raises BadInput where one would be empty."""
        inside = np.array([self.part(sources.name(int(position))) == self.name for position in chosen], bool)
        self.refuse_empty(inside)
        return {REST: chosen[~inside], self.name: chosen[inside]}

    def deal(self, scenes: Sequence[S], name: Callable[[S], str]) -> dict[str, list[S]]:
        """The scenes of each part, by their names. Raises BadInput where a part would be empty."""
        inside = [self.part(os.fsencode(name(scene))) == self.name for scene in scenes]
        self.refuse_empty(np.array(inside, bool))
        parts: dict[str, list[S]] = {REST: [], self.name: []}
        for scene, here in zip(scenes, inside, strict=True):
            parts[self.name if here else REST].append(scene)
        return parts

    def refuse_empty(self, inside: NDArray[np.bool_]) -> None:
        """Raise BadInput where all are inside, or none."""
        for part, members in ((self.name, inside), (REST, ~inside)):
            if not members.any():
                raise BadInput(
                    "a part of the split is empty",
                    where=f"--split {self.name}={self.share} --group-by {self.group_by}",
                    got=f"none of {len(inside)} pictures in {part}",
                    wanted="pictures in both parts",
                    todo="choose another share, or more pictures",
                )
