"""Mitsuba 3 in this process: scenes as it has them, frames as arrays. From the `render` extra.

Its traps, and what is done about them: without a seed it renders the same noise again, so every call has one; the
default filter of a film shares light between pixels and makes their noise alike, so the film here has a box unless
another is asked for; where a process may use one processor alone, its reading of EXR files never ends, so it is given
two threads; the albedo of rough metal goes far above 1, and is clipped; an LLVM that it cannot use ends the process,
see `farm.py`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.radiance import BIN, auto_exposure
from pipeline.rendering.cameras import Camera, moved
from pipeline.rendering.interiors import Node, camera_in, interior
from pipeline.rendering.scenes import View

Variant = Literal["scalar_rgb", "llvm_ad_rgb", "cuda_ad_rgb"]
Filter = Literal["box", "tent", "gaussian"]
Planes = NDArray[np.float32]

AOVS = "albedo:albedo,normal:sh_normal,depth:depth"
BUFFERS = {"color": slice(-10, -7), "albedo": slice(-7, -4), "normal": slice(-4, -1), "depth": slice(-1, None)}
TRIES = 16  # at a camera that is not inside something
NEAREST = 0.5  # of the usual distance, in the geometric mean, that a moved camera may see
LOOK_SPP = 1
LOOK = 32  # pixels a side
LIT = 0.95  # of a view's pixels that light reaches, at least, by some of LIGHT_SPP paths
LIGHT_SPP = 16
BIN_SPP = 64  # paths for each of the squares whose brightness decides a frame's exposure
KEPT_SCENES = 8  # of those loaded from files; a frame of one that is kept costs its rendering alone
BLOCK = (
    32  # pixels a side that a scalar variant gives to a thread; its own choice, and so its noise, is by their number
)
SEEDS = 1 << 32  # of Mitsuba's scalar variants, which give every pixel of every seed a stream of its own


@dataclass(frozen=True, kw_only=True)
class Film:
    """What every frame of a run shares."""

    width: int = 256
    height: int = 256
    max_depth: int = 8
    """Segments of a light path in generated rooms; a file has an integrator of its own."""
    filter: Filter = "box"
    """Others share light between pixels, and with it noise."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The square of a film that is rendered."""

    top: int
    left: int
    side: int


def load_mitsuba(variant: Variant, threads: int) -> Any:
    """The module, ready to render. Raises BadInput where it is not installed or has no such variant."""
    try:
        mitsuba: Any = importlib.import_module("mitsuba")
        drjit: Any = importlib.import_module("drjit")
    except ImportError as error:
        todo = "install the extra: pip install -e '.[render]'"
        raise BadInput("the renderer is not installed", "n2n render", str(error), "mitsuba", todo) from error
    try:
        mitsuba.set_variant(variant)
    except ImportError as error:
        raise BadInput("a variant that does not work here", f"--variant {variant}", str(error)) from error
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    drjit.set_thread_count(max(2, threads))
    return mitsuba


class Renderer:
    """One view of a scene, loaded; `render(spp, seed)` as often as wanted. Of `window` alone, where there is one.

    `loaded` are the scenes that were read from files before, for those who render many views.
    """

    def __init__(
        self, mitsuba: Any, view: View, film: Film, window: Window | None = None, loaded: dict[Path, Any] | None = None
    ) -> None:
        self.mitsuba = mitsuba
        self.view = view
        self.film = film
        self.loaded = {} if loaded is None else loaded
        self.scene = self._room() if isinstance(view.scene, int) else self._file(view.scene)
        own = self.scene.integrator()
        self.light = own if own is not None and "AOV" not in type(own).__name__ else self._path()
        self.layers = mitsuba.load_dict({"type": "aov", "aovs": AOVS, "light": self.light, "block_size": BLOCK})
        self.camera = self._camera_in_room() if isinstance(view.scene, int) else self._camera_of_file(view.scene)
        self.sensor = self._sensor(self.camera, window=window)

    def render(self, spp: int, seed: int) -> dict[str, Planes]:
        """Radiance, albedo, normal and depth of the same samples, (C, H, W)."""
        planes = self._planes(self.layers, spp, seed)
        buffers = {name: np.ascontiguousarray(planes[channels]) for name, channels in BUFFERS.items()}
        buffers["albedo"] = np.clip(buffers["albedo"], 0, 1)
        return buffers

    def radiance(self, spp: int, seed: int) -> Planes:
        """Radiance alone, in half of the time."""
        return self._planes(self.light, spp, seed)[:3]

    def exposure(self) -> float:
        """That of the whole film, from paths of its own: of a realisation's, it would know that one's noise."""
        width, height = -(-self.film.width // BIN), -(-self.film.height // BIN)
        sensor = self._sensor(self.camera, width=width, height=height)
        look = self.mitsuba.render(self.scene, sensor=sensor, integrator=self.light, spp=BIN_SPP, seed=0)
        squares = np.array(look, np.float32)[..., :3].transpose(2, 0, 1)
        return auto_exposure(squares.repeat(BIN, axis=1).repeat(BIN, axis=2))

    def _planes(self, integrator: Any, spp: int, seed: int) -> Planes:
        pixels = self.mitsuba.render(self.scene, sensor=self.sensor, integrator=integrator, spp=spp, seed=seed)
        return np.ascontiguousarray(np.array(pixels, np.float32).transpose(2, 0, 1))

    def _path(self) -> Any:
        return self.mitsuba.load_dict(
            {"type": "path", "max_depth": self.film.max_depth, "rr_depth": 4, "block_size": BLOCK}
        )

    def _room(self) -> Any:
        self.half, nodes = interior(self.view.generator("room"))
        named = {f"node{number}": self._native(node) for number, node in enumerate(nodes)}
        return self.mitsuba.load_dict({"type": "scene", **named})

    def _native(self, node: Node) -> Node:
        """Matrices and pictures as Mitsuba has them."""
        result: Node = {}
        for name, value in node.items():
            if isinstance(value, Mapping):
                result[name] = self._native(dict(value))
            elif isinstance(value, np.ndarray):
                small = value.shape == (4, 4)
                result[name] = self.mitsuba.ScalarTransform4f(value) if small else self.mitsuba.Bitmap(value)
            else:
                result[name] = value
        return result

    def _file(self, path: Path) -> Any:
        if path not in self.loaded:
            try:
                scene = self.mitsuba.load_file(str(path))
            except RuntimeError as error:
                raise BadInput("a scene that Mitsuba cannot load", path, " ".join(str(error).split())) from error
            if len(self.loaded) >= KEPT_SCENES:
                self.loaded.clear()
            self.loaded[path] = scene
        return self.loaded[path]

    def _camera_in_room(self) -> Camera:
        generator = self.view.generator("camera")
        return self._open(lambda: camera_in(self.half, generator), least=0.3)

    def _camera_of_file(self, path: Path) -> Camera:
        """The file's own for the first view, moved about for the others."""
        sensors = self.scene.sensors()
        kind = type(sensors[0]).__name__ if sensors else "no camera"
        said = self.mitsuba.traverse(sensors[0]) if sensors else {}
        if not {"x_fov", "to_world"} <= set(said.keys()):
            raise BadInput("a camera that cannot be moved", path, kind, "a perspective or thinlens camera")
        matrix = np.array(said["to_world"].matrix, np.float64).reshape(4, 4)
        aperture, focus = (float(np.array(said[name]).item()) if name in said else 1.0 for name in LENS)
        fov = float(np.array(said["x_fov"]).item())
        own = Camera(matrix, fov, aperture if LENS[0] in said else 0.0, focus)
        if self.view.number == 0:
            return own
        box = self.scene.bbox()
        diagonal = float(np.linalg.norm(np.array(box.max) - np.array(box.min)))
        generator = self.view.generator("camera")
        return self._open(lambda: moved(own, diagonal, generator), least=NEAREST * self._distance(own))

    def _open(self, propose: Callable[[], Camera], least: float) -> Camera:
        """The first camera proposed that sees far enough and hardly any darkness; or the one that comes nearest.

        A view that light hardly reaches teaches nothing: brought to the exposure of others, its few bright pixels are
        as large as all of theirs together.
        """
        best, most = None, -1.0
        for _ in range(TRIES):
            camera = propose()
            open_enough = min(1.0, self._distance(camera) / max(least, 1e-6))
            good = open_enough * min(1.0, self._lit(camera) / LIT) if open_enough > most else 0.0
            if good > most:
                best, most = camera, good
            if good >= 1:
                break
        assert best is not None  # no product of shares is negative
        return best

    def _distance(self, camera: Camera) -> float:
        """The geometric mean of what a camera sees, without what is infinitely far."""
        look = self.mitsuba.load_dict({"type": "aov", "aovs": "depth:depth"})
        depth = self._look(camera, look, LOOK_SPP)
        seen = depth[depth > 0]
        return float(np.exp(np.log(seen).mean())) if seen.size else 0.0

    def _lit(self, camera: Camera) -> float:
        """The share of pixels that some path has found light for."""
        return float((self._look(camera, self.light, LIGHT_SPP)[..., :3].max(axis=-1) > 0).mean())

    def _look(self, camera: Camera, integrator: Any, spp: int) -> NDArray[np.float32]:
        """A small picture, (LOOK, LOOK, channels), the same at every call."""
        sensor = self._sensor(camera, width=LOOK, height=LOOK)
        return np.array(self.mitsuba.render(self.scene, sensor=sensor, integrator=integrator, spp=spp, seed=0))

    def _sensor(self, camera: Camera, width: int = 0, height: int = 0, window: Window | None = None) -> Any:
        film = {
            **{"type": "hdrfilm", "pixel_format": "rgb", "component_format": "float32"},
            **{"rfilter": {"type": self.film.filter}},
            **{"width": width or self.film.width, "height": height or self.film.height},
        }
        if window:
            film |= {"crop_offset_x": window.left, "crop_offset_y": window.top}
            film |= {"crop_width": window.side, "crop_height": window.side}
        lens = {LENS[0]: camera.aperture, LENS[1]: camera.focus} if camera.aperture > 0 else {}
        return self.mitsuba.load_dict(
            {
                **{"type": "thinlens" if lens else "perspective", "fov": camera.fov_deg, "fov_axis": "x", **lens},
                "to_world": self.mitsuba.ScalarTransform4f(camera.to_world),
                **{"near_clip": 0.01, "far_clip": 1e5, "film": film, "sampler": {"type": "independent"}},
            }
        )


LENS = ("aperture_radius", "focus_distance")
