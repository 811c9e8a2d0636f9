"""What is to be rendered: views of scenes, each a frame, by generated room or by file."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import BadInput
from pipeline.randomness import key

XML = ".xml"  # Mitsuba's
JSON = ".json"  # Tungsten's
WHOSE = {XML: "a Mitsuba scene, *.xml", JSON: "a Tungsten scene, *.json"}
NAME = re.compile(r"[^A-Za-z0-9-]+")  # of a scene; underscores and dots have a meaning in the names of renders


@dataclass(frozen=True)
class View:
    """One frame to be: which scene, from which of its cameras."""

    name: str
    seed: int
    """Of the run; with the scene and the number it decides the room, the camera and the noise."""
    scene: Path | int
    """A file, or the number of a generated room."""
    number: int

    @property
    def by_tungsten(self) -> bool:
        """Whether it is a scene of Tungsten's; the others, and rooms, are Mitsuba's."""
        return isinstance(self.scene, Path) and self.scene.suffix.lower() == JSON

    def generator(self, purpose: str) -> np.random.Generator:
        """Randomness for "room", which all views of a scene share, or for "camera"."""
        scene = self.scene if isinstance(self.scene, int) else key(*self.scene.stem.encode())
        parts = (scene,) if purpose == "room" else (scene, self.number)
        return np.random.default_rng(key(self.seed, *purpose.encode(), *parts))

    def first_noise_seed(self) -> int:
        """The seed of the frame's first render; the following have the following numbers. Below 2^31."""
        return key(self.seed, *self.name.encode()) >> 33


def list_views(
    files: list[Path], rooms: int, views: int, seed: int, kinds: tuple[str, ...] = (XML, JSON)
) -> list[View]:
    """Every frame of a run, in order. Raises BadInput where a scene is none of these kinds, or two have one name."""
    scenes: dict[str, Path | int] = {}
    for path in files:
        if path.suffix.lower() not in kinds or not path.is_file():
            wanted = " or ".join(WHOSE[kind] for kind in kinds)
            raise BadInput("not a scene", path, "" if path.exists() else "nothing there", wanted)
        name = NAME.sub("-", path.stem)
        if name in scenes:
            raise BadInput("two scenes of one name", path, f"{name}, as {scenes[name]}", "names of their own")
        scenes[name] = path.resolve()
    scenes |= {f"room{number:05d}" + (f"-seed{seed}" if seed else ""): number for number in range(rooms)}
    return [
        View(f"{name}-view{number:03d}", seed, scene, number)
        for name, scene in scenes.items()
        for number in range(views)
    ]
