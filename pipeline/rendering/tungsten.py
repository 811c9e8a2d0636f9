"""Tungsten as a program of its own: its scenes, `*.json`, with the settings under which two renders are independent.

Its traps, and what is done about them: without `-s` it renders the same noise again, so every call has a seed;
adaptive sampling decides by the very samples that it averages, which biases them, and stratified ones are drawn
together, so both are off; a tent is its default filter; built without OpenEXR it writes no such file and ends with 0,
so files are looked for; the albedo of lamps is their radiance, and is clipped; and whatever is in the scene's folder
stays as it is, as it renders in a folder of links.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.exr.buffers import read_frame
from pipeline.exr.container import parse
from pipeline.rendering.cameras import Camera, looking, moved
from pipeline.rendering.renderer import Film, Planes
from pipeline.rendering.scenes import View

PROGRAM = "tungsten"
BUFFERS = ("color", "albedo", "normal", "depth")
SCENE_SIZE = 2.0  # its diagonal, in distances from the camera to what it looks at: a guess, as nothing measures it
TAIL = 300  # characters of what the program said that a message repeats


def find_program(named: str) -> Path:
    """The executable, by path or on PATH. Raises BadInput where there is none."""
    found = shutil.which(named or PROGRAM)
    if not found:
        todo = "build Tungsten with OpenEXR, and give its path: --tungsten /opt/tungsten/tungsten"
        raise BadInput("no such renderer", "n2n render", named or f"no {PROGRAM} on PATH", "an executable", todo)
    return Path(found).resolve()


def fingerprint(program: Path) -> str:
    """What tells one build from another: the same scene by another is another frame."""
    return hashlib.sha256(program.read_bytes()).hexdigest()[:16]


class TungstenRenderer:
    """One view of a scene; `render(spp, seed)` as often as wanted, each a run of the program."""

    def __init__(self, program: Path, view: View, film: Film, threads: int) -> None:
        """Raises BadInput where the file is no scene, or its camera cannot be moved for another view."""
        assert isinstance(view.scene, Path)
        self.program = program
        self.path = view.scene
        self.film = film
        self.threads = threads
        try:
            self.scene: dict[str, Any] = json.loads(self.path.read_bytes())
            self.scene["camera"] = with_film(self.scene["camera"], film)
            self.scene["renderer"] = dict(self.scene.get("renderer", {}))
        except (ValueError, TypeError, KeyError) as error:
            got = f"{type(error).__name__}: {error}"
            raise BadInput("not a scene of Tungsten's", self.path, got, "a JSON object with a camera") from error
        if view.number:
            self.scene["camera"] = moved_camera(self.scene["camera"], view.generator("camera"), self.path)

    def render(self, spp: int, seed: int) -> dict[str, Planes]:
        """Radiance, albedo, normal and depth of the same samples, (C, H, W)."""
        buffers = self._run(spp, seed, BUFFERS)
        buffers["albedo"] = np.clip(buffers["albedo"], 0, 1)
        return buffers

    def radiance(self, spp: int, seed: int) -> Planes:
        return self._run(spp, seed, BUFFERS[:1])["color"]

    def settings(self, spp: int, wanted: tuple[str, ...]) -> dict[str, Any]:
        """The scene's `renderer` with what decides samples and files; all else is the scene's."""
        buffers = [{"type": name, "hdr_output_file": f"{name}.exr"} for name in wanted if name != "color"]
        said = {name: value for name, value in self.scene["renderer"].items() if name not in ELSEWHERE}
        return {
            **said,
            **{"spp": spp, "adaptive_sampling": False, "stratified_sampler": False},
            **{"hdr_output_file": "color.exr", "output_buffers": buffers},
            **{"overwrite_output_files": True, "enable_resume_render": False},
        }

    def _run(self, spp: int, seed: int, wanted: tuple[str, ...]) -> dict[str, Planes]:
        with tempfile.TemporaryDirectory(prefix="n2n-tungsten-") as name:
            folder = Path(name)
            written = {f"{buffer}.exr" for buffer in BUFFERS} | {self.path.name}
            for entry in self.path.parent.iterdir():  # what the scene names is beside it
                if entry.name not in written:
                    (folder / entry.name).symlink_to(entry)
            scene = {**self.scene, "renderer": self.settings(spp, wanted)}
            (folder / self.path.name).write_text(json.dumps(scene))
            command = [str(self.program), "-s", str(seed), "-t", str(self.threads), self.path.name]
            self._call(command, folder)
            return {buffer: self._read(folder / f"{buffer}.exr", buffer) for buffer in wanted}

    def _call(self, command: list[str], folder: Path) -> None:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise BadInput("the renderer cannot be run", self.program, str(error)) from error
        if done.returncode:
            said = " ".join((done.stdout + done.stderr).split())[-TAIL:]
            got = f"exit code {done.returncode}: {said}"
            raise BadInput("a scene that Tungsten cannot render", self.path, got, todo=f"try {' '.join(command)}")

    def _read(self, path: Path, buffer: str) -> Planes:
        if not path.exists():
            got, todo = f"no {path.name}, and exit code 0", "build it where CMake finds OpenEXR"
            raise BadInput("the renderer wrote no OpenEXR file", self.program, got, "one a buffer", todo)
        planes: NDArray[np.generic] = read_frame(parse(path.read_bytes(), path), only=buffer).buffers[buffer]
        wanted = (self.film.height, self.film.width)
        if planes.shape[1:] != wanted:
            raise BadInput("a frame of another size", self.path, f"{buffer} {planes.shape[1:]}", f"{wanted}")
        return np.ascontiguousarray(planes, np.float32)


ELSEWHERE = ("output_directory", "output_file", "resume_render_file", "checkpoint_interval")


def with_film(camera: dict[str, Any], film: Film) -> dict[str, Any]:
    return {**camera, "resolution": [film.width, film.height], "reconstruction_filter": film.filter}


def moved_camera(camera: dict[str, Any], generator: np.random.Generator, where: Path) -> dict[str, Any]:
    """A little elsewhere, turned and tilted; of a camera that stands somewhere, looks at something and knows up.

    Nothing tells whether it ends before a wall: that is for whoever looks at the frames.
    """
    try:
        pose = camera["transform"]
        position, target = (np.array(pose[name], np.float64).reshape(3) for name in ("position", "look_at"))
        distance = float(np.linalg.norm(target - position))
        if not np.delete(target - position, 1).any():
            raise ValueError("it looks straight up or down, or nowhere")
        own = Camera(looking(position, target), float(camera.get("fov", 60)))
    except (KeyError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        wanted = "a transform of position and look_at, or --views 1"
        raise BadInput("a camera that cannot be moved", where, got, wanted) from error
    matrix = moved(own, SCENE_SIZE * distance, generator).to_world
    ahead, place = matrix[:3, 2], matrix[:3, 3]
    there = {"position": place.tolist(), "look_at": (place + distance * ahead).tolist()}
    return {**camera, "transform": {**pose, **there}}
