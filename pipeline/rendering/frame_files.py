"""The files of one frame: noisy realisations with their layers, and a reference grown in chunks.

Every file is written aside and renamed, and what is there is not done again. Names are those that `n2n shard
--renders` pairs, in one of two layouts:
- `layers`: one file a render with all of its buffers, FRAME_seed12_0008spp.exr and FRAME_ref_2048spp.exr.
- `buffers`: one file a buffer, as Open Image Denoise's training and Houdini have them: FRAME_0008spp.hdr.exr, .alb.exr,
  .nrm.exr, .z.exr, and of the next realisation FRAME_00008spp.hdr.exr; the highest samples per pixel are the reference.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.exr.pixels import encode
from pipeline.rendering.renderer import SEEDS, Film, Planes
from pipeline.rendering.scenes import View
from pipeline.sharding.frames import storage_type

Layout = Literal["layers", "buffers"]


SUMS = ".sums"  # of an unfinished reference
CHUNKS = 8  # of a reference, at least: its standard error is that of their mean
CHUNK_SPP = 256  # at most, so that little is lost when it is stopped, and memory stays small
LAYERS: dict[str, tuple[str, ...]] = {
    "color": ("R", "G", "B"),
    "albedo": ("albedo.R", "albedo.G", "albedo.B"),
    "normal": ("normal.X", "normal.Y", "normal.Z"),
    "depth": ("Z",),
    "se": ("se.R", "se.G", "se.B"),
}
WORDS = {"albedo": "alb", "normal": "nrm", "depth": "z", "color": "hdr"}  # in the order of writing
RGB, Z = LAYERS["color"], LAYERS["depth"]


class FrameRenderer(Protocol):
    """One view of a scene, ready to be rendered as often as wanted."""

    film: Film

    def render(self, spp: int, seed: int) -> dict[str, Planes]: ...

    def radiance(self, spp: int, seed: int) -> Planes: ...


Open = Callable[[View, Film], FrameRenderer]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """How often and how long a frame is rendered."""

    realisations: int = 2
    spp: int = 8
    reference_spp: int = 0
    """0 for no reference: training needs none."""

    def chunks(self) -> tuple[int, int]:
        """How many chunks the reference has, and the samples per pixel of each."""
        first = max(min(CHUNKS, self.reference_spp), -(-self.reference_spp // CHUNK_SPP))
        count = next(n for n in range(first, self.reference_spp + 1) if self.reference_spp % n == 0)
        return count, self.reference_spp // count


def seeds(view: View, samples: Samples, film: Film) -> list[int]:
    """Of every render of a frame, its realisations first, then its reference's chunks: consecutive numbers.

    Mitsuba's scalar variants multiply a seed by the number of pixels in 32 bits, so that at 256 x 256 seeds that are
    equal in their last 16 bits are one seed; consecutive ones differ for as long as there are any. Raises BadInput
    where there are not enough.
    """
    count = samples.realisations + (samples.chunks()[0] if samples.reference_spp else 0)
    if count > SEEDS // (film.width * film.height):
        got = f"{count} renders of {film.width} x {film.height} a frame"
        raise BadInput("more renders than seeds", view.name, got, f"{SEEDS // (film.width * film.height)}")
    first = view.first_noise_seed()
    return list(range(first, first + count))


def stems(view: View, samples: Samples, film: Film, layout: Layout) -> tuple[dict[str, int], str]:
    """The names of a frame's realisations, without what follows their samples per pixel, with the seed of each; and
    that of its reference. No name of a view has a dot in it.

    Raises BadInput where the layout cannot tell the reference from the rest.
    """
    numbers = seeds(view, samples, film)[: samples.realisations]
    if layout == "layers":
        noisy = {f"{view.name}_seed{seed}_{samples.spp:04d}spp": seed for seed in numbers}
        return noisy, f"{view.name}_ref_{samples.reference_spp:04d}spp"
    if 0 < samples.reference_spp <= samples.spp:
        got, wanted = f"{samples.reference_spp} samples per pixel", f"more than the {samples.spp} of noisy renders"
        where, todo = (
            "--reference-spp with --layout buffers",
            "raise it, or choose --layout layers, whose names tell it",
        )
        raise BadInput("a reference that is none by its name", where, got, wanted, todo)
    width = max(4, len(str(samples.spp)))
    noisy = {f"{view.name}_{samples.spp:0{width + n}d}spp": seed for n, seed in enumerate(numbers)}
    return noisy, f"{view.name}_{samples.reference_spp:04d}spp"


def whole(stem: Path, layout: Layout) -> Path:
    """The file of a render that is written last."""
    return stem.with_name(stem.name + (".exr" if layout == "layers" else f".{WORDS['color']}.exr"))


def render_frame(
    view: View,
    samples: Samples,
    film: Film,
    open_view: Open,
    out: Path,
    note: dict[str, str],
    layout: Layout = "layers",
) -> int:
    """Render what is missing of a frame; how many renders were made.

    `note` goes into every file's header, beside spp and seeds.
    """
    noisy, reference_stem = stems(view, samples, film, layout)
    missing = {out / name: seed for name, seed in noisy.items() if not whole(out / name, layout).exists()}
    reference = out / reference_stem
    grow = bool(samples.reference_spp) and not whole(reference, layout).exists()
    if not grow:  # killed between the reference's last byte and this
        reference.with_suffix(SUMS).unlink(missing_ok=True)
    if not missing and not grow:
        return 0
    renderer = open_view(view, film)
    for stem, seed in missing.items():
        buffers = renderer.render(samples.spp, seed)
        save(stem, layout, buffers, {**note, "spp": str(samples.spp), "seed": str(seed)})
    if grow:
        numbers = seeds(view, samples, film)[samples.realisations :]
        said = {**note, "spp": str(samples.reference_spp), "seed": f"{numbers[0]}-{numbers[-1]}"}
        save(reference, layout, grow_reference(renderer, samples, numbers, reference), said)
        reference.with_suffix(SUMS).unlink(missing_ok=True)
    return len(missing) + grow


def grow_reference(renderer: FrameRenderer, samples: Samples, numbers: list[int], stem: Path) -> dict[str, Planes]:
    """The mean of all chunks and its standard error; sums are kept after each, so that a stopped one goes on."""
    count, spp = samples.chunks()
    sums_path = stem.with_suffix(SUMS)
    done, total, squares = load_sums(sums_path, (3, renderer.film.height, renderer.film.width))
    for number in range(done, count):
        chunk = renderer.radiance(spp, numbers[number]).astype(np.float64)
        total, squares = total + chunk, squares + chunk**2
        if number + 1 < count:
            with write_whole(sums_path) as file:
                np.savez(file, done=number + 1, total=total, squares=squares)
    mean = total / count
    spread = np.maximum(squares / count - mean**2, 0) / max(1, count - 1)
    return {"color": mean.astype(np.float32), "se": np.sqrt(spread).astype(np.float32)}


def load_sums(path: Path, shape: tuple[int, ...]) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """How many chunks are done, their sum and the sum of their squares."""
    if not path.exists():
        return 0, np.zeros(shape), np.zeros(shape)
    saved = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    return int(saved["done"]), saved["total"], saved["squares"]


def save(stem: Path, layout: Layout, buffers: dict[str, Planes], note: dict[str, str]) -> None:
    """One file with a layer a buffer, or one file a buffer; each in half where half holds it.

    A standard error is a layer beside its radiance in both.
    """
    layers: dict[str, dict[str, NDArray[np.generic]]] = {}
    for name, planes in buffers.items():
        layers[name] = dict(zip(LAYERS[name], planes.astype(storage_type([planes])), strict=True))
    if layout == "layers":
        write(whole(stem, layout), {name: plane for layer in layers.values() for name, plane in layer.items()}, note)
        return
    for name, word in WORDS.items():
        if name in layers:
            alone = dict(zip(Z if name == "depth" else RGB, layers[name].values(), strict=True))
            error = layers.get("se", {}) if name == "color" else {}
            write(stem.with_name(f"{stem.name}.{word}.exr"), {**alone, **error}, note)


def write(path: Path, channels: dict[str, NDArray[np.generic]], note: dict[str, str]) -> None:
    data = encode(channels, {f"n2n.{key}": text for key, text in note.items()})
    with write_whole(path) as file:
        file.write(data)
