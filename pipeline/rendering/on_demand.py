"""Renders that are made when a draw wants them, and forgotten: Lehtinen et al. 2018, section 3.3.

What a set of realisations is to training, without files: sample n is view n of endless ones, a function of seed and n
alone. So draws are the same on any rank and in any worker, each of which renders its own.
"""

import hashlib
import json
from dataclasses import asdict
from glob import glob
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.rendering.farm import GENERATION, version
from pipeline.rendering.frame_files import Samples, seeds
from pipeline.rendering.renderer import Film, Window
from pipeline.rendering.scenes import XML, View, list_views
from pipeline.rendering.server import VARIANT, Rendered, RenderServer, Wanted

ROOMS = "rooms"
VIEWS = 1 << 31  # so that hardly any is met twice
BUFFERS = ["albedo", "color", "depth", "normal"]


class RenderedSet:
    """Endless frames of two realisations, rendered by a process beside the one that asks.

    A frame is a square window, of the size of a crop and somewhere in a film of `film` pixels a side, whose exposure it
    has: so it is what a crop of a rendered file would be, and nothing is rendered that is not shown. Of files, sample
    n is view n // F of file n modulo F; of rooms, it is a room of its own.
    """

    def __init__(self, scenes: str, crop: int, film: int, spp: int, seed: int) -> None:
        """`scenes` is "rooms", a file, a folder or a glob.

        Raises BadInput where there is no renderer, or a scene is none.
        """
        if film < crop:
            wanted = f"at least {crop}, as pairs.crop"
            raise BadInput("frames smaller than their crops", "data.render_size", str(film), wanted)
        self.seed = seed
        self.crop = crop
        self.samples = Samples(realisations=2, spp=spp)
        self.film = Film(width=film, height=film)
        self.scenes = [] if scenes == ROOMS else scene_files(scenes, seed)
        contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.scenes]
        said: dict[str, Any] = {"scenes": contents or ROOMS, "mitsuba": version(), "variant": VARIANT, "seed": seed}
        said |= {"generation": GENERATION, "crop": crop, "film": asdict(self.film), "samples": asdict(self.samples)}
        self.sha256 = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        """Of everything that decides the frames, but for the files that scenes name."""
        self.address = scenes
        """As the user gave it, for messages."""
        self.origin = str(Path(scenes).resolve()) if self.scenes else ROOMS
        self.samples_per_shard = [VIEWS]
        seeds(self.view(0), self.samples, self.film)  # enough of them, or a message
        self._server = RenderServer()
        self._frame: tuple[int, Rendered] | None = None

    def __len__(self) -> int:
        return VIEWS

    def view(self, sample: int) -> View:
        if not self.scenes:
            return View(f"room{sample}", self.seed, sample, 0)
        number, file = divmod(sample, len(self.scenes))
        return View(f"scene{file}-view{number}", self.seed, self.scenes[file], number)

    def window(self, sample: int) -> Window:
        """Anywhere in the film."""
        places = self.film.width - self.crop + 1
        top, left = self.view(sample).generator("window").integers(0, places, 2).tolist()
        return Window(top=top, left=left, side=self.crop)

    def realisations(self, _sample: int) -> int:
        return self.samples.realisations

    def buffers(self, _sample: int) -> list[str]:
        return BUFFERS

    def size(self, _sample: int) -> tuple[int, int]:
        return self.crop, self.crop

    def pixels(self, sample: int, buffer: str, realisation: int = 0) -> NDArray[Any]:
        """(C, H, W). Raises BadInput where the view cannot be rendered, or has no such buffer."""
        if buffer not in BUFFERS:
            raise BadInput("no such buffer", self.where(sample), buffer, f"one of {', '.join(BUFFERS)}")
        return self._rendered(sample).realisations[realisation][buffer]

    def about(self, sample: int) -> dict[str, Any]:
        """What a set's KEY.json says of a frame, as far as pairs need it."""
        return {"exposure": self._rendered(sample).exposure, "spp": [self.samples.spp] * self.samples.realisations}

    def where(self, sample: int) -> str:
        return f"{self.view(sample).scene}, view {self.view(sample).name}"

    def close(self) -> None:
        """End this process's renderer; whoever asks again begins another."""
        self._server.close()

    def _rendered(self, sample: int) -> Rendered:
        if self._frame is None or self._frame[0] != sample:
            wanted = Wanted(self.view(sample), self.samples, self.film, self.window(sample))
            self._frame = sample, self._server.render(wanted)
        return self._frame[1]


def scene_files(scenes: str, seed: int) -> list[Path]:
    """In the order of their names. Raises BadInput where there is none, or one is no scene."""
    folder = Path(scenes)
    names = sorted(folder.glob(f"*{XML}")) if folder.is_dir() else [Path(name) for name in sorted(glob(scenes))]
    if folder.is_dir() and not names:
        raise BadInput("a folder without scenes", scenes, f"no *{XML}", f"Mitsuba's scenes, or {ROOMS}")
    views = list_views(names or [folder], 0, 1, seed, (XML,))
    return [view.scene for view in views if isinstance(view.scene, Path)]
