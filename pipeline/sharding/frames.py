"""A frame's EXR files -> arrays: radiance and auxiliary buffers of each realisation, and the reference."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.exr.buffers import COLOR, Patterns
from pipeline.exr.container import Container
from pipeline.exr.pixels import HALF_MAX
from pipeline.radiance import auto_exposure, fill_non_finite
from pipeline.sharding.realisations import REFERENCE, Realisations
from pipeline.sources.render_reader import Buffers, read_render
from pipeline.sources.renders import Realisation, RenderFrame

READERS = 4  # threads that decode one frame's files
MAX_HALF_ERROR = 5e-4  # mean error over mean magnitude; half has 1.4e-4 where its range is right
MAX_FILLED = 0.01  # of a realisation's pixels


def load_frame(frame: RenderFrame, patterns: Patterns | None = None) -> Realisations:
    """Read every file of a frame: color (3, H, W) and the auxiliary buffers that all of its realisations have.

    Raises BadInput where one is damaged or has no radiance, where sizes differ, where two realisations are the same
    picture, or where more than a hundredth of the pixels is not finite.
    """
    renders = [*frame.realisations, *([frame.reference] if frame.reference else [])]
    asked = [patterns] * len(frame.realisations) + [patterns and patterns.only(COLOR)]  # a reference needs no others
    with ThreadPoolExecutor(min(READERS, len(renders))) as pool:  # decoding leaves Python's lock
        read = list(pool.map(read_render, renders, asked))
    loaded = [render.buffers for render in read]
    refuse_other_sizes(frame, loaded)
    filled = [fill(buffers, f"{frame.name}, {one.name}") for buffers, one in zip(loaded, renders, strict=True)]
    reference = loaded.pop()[COLOR] if frame.reference else None
    refuse_equal(frame, loaded)
    shared = [name for name in loaded[0] if all(name in buffers for buffers in loaded)]
    aside = sorted({name for buffers in loaded for name in buffers} - set(shared))
    stored = {name: in_one_type([buffers[name] for buffers in loaded]) for name in shared}
    types = {name: str(arrays[0].dtype) for name, arrays in stored.items()}
    if reference is not None:
        (reference,) = in_one_type([reference])
        types[REFERENCE] = str(reference.dtype)
    seeds = [seed_of(one, render.file) for one, render in zip(frame.realisations, read, strict=False)]
    return Realisations(stored, reference, describe(frame, stored[COLOR], types, filled, aside, seeds))


def seed_of(one: Realisation, file: Container) -> int | None:
    """That of a realisation by its files' names, or else by the header that `n2n render` writes."""
    said = file.headers[0].attributes.get("n2n.seed")
    text = said.value.decode("ascii", "replace") if said else ""
    return int(text) if one.seed is None and text.isdecimal() else one.seed


def refuse_other_sizes(frame: RenderFrame, loaded: list[Buffers]) -> None:
    sizes = sorted({array.shape[1:] for buffers in loaded for array in buffers.values()})
    if len(sizes) > 1:
        got = ", ".join(f"{width} x {height}" for height, width in sizes)
        raise BadInput("renders of different sizes", frame.name, got, "one size for all of a frame")


def refuse_equal(frame: RenderFrame, loaded: list[Buffers]) -> None:
    """Equal renders are one realisation: the noise of the target would be that of the source."""
    for number, buffers in enumerate(loaded):
        for earlier in range(number):
            if np.array_equal(buffers[COLOR], loaded[earlier][COLOR], equal_nan=True):
                names = [frame.realisations[n].files[0].title for n in (earlier, number)]
                raise BadInput(
                    "two realisations are the same picture",
                    where=frame.name,
                    got=" and ".join(names),
                    wanted="noise of their own",
                    todo="render them with different seeds; renderers that are given none use the same one",
                )


def fill(buffers: Buffers, where: str) -> int:
    """Fill what is not finite, in place; how many pixels of the radiance that were."""
    count = 0
    for name, array in buffers.items():
        if name == "depth":
            continue  # infinite in the background
        buffers[name], filled = fill_non_finite(array)
        if name == COLOR:
            count = filled
    pixels = buffers[COLOR][0].size
    if count > MAX_FILLED * pixels:
        got = f"{count:,} of {pixels:,} pixels"
        raise BadInput("NaN or infinity in a render", where, got, f"at most {MAX_FILLED:.0%}", "render it again")
    return count


def in_one_type(arrays: list[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    kind = storage_type(arrays)
    return [array.astype(kind, copy=False) for array in arrays]


def storage_type(arrays: list[NDArray[np.generic]]) -> str:
    """float16 where it holds every value and loses little of them, else float32; one type for all realisations."""
    if all(array.dtype == np.float16 for array in arrays):
        return "float16"
    magnitude = error = 0.0
    for array in arrays:
        values = array.astype(np.float32)
        finite = values[np.isfinite(values)]
        if finite.size and np.abs(finite).max() > HALF_MAX:
            return "float32"
        magnitude += float(np.abs(finite).sum(dtype=np.float64))
        error += float(np.abs(finite - finite.astype(np.float16)).sum(dtype=np.float64))
    return "float16" if error <= MAX_HALF_ERROR * magnitude else "float32"


def describe(
    frame: RenderFrame,
    radiances: list[NDArray[np.generic]],
    types: Mapping[str, str],
    filled: list[int],
    aside: list[str],
    seeds: list[int | None],
) -> dict[str, Any]:
    """What KEY.json says of a frame. Lists are by realisation."""
    mean = np.mean([radiance.astype(np.float32) for radiance in radiances], axis=0)
    optional = {
        "seeds": seeds,
        "spp": [one.spp for one in frame.realisations],
        "reference_spp": frame.reference.spp if frame.reference else None,
        "camera": frame.camera or None,
        "not_in_every_realisation": aside or None,
    }
    return {
        "source": frame.name,
        "names": [one.name for one in frame.realisations],
        "encoding": "linear",
        "exposure": auto_exposure(mean),
        "types": dict(types),
        "filled_pixels": filled,
        **{name: value for name, value in optional.items() if value not in (None, [None] * len(radiances))},
    }
