"""EXR frames denoised: radiance replaced, everything else as it was."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from launch.frame_denoiser import FrameDenoiser
from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.exr.buffers import COLOR, Patterns
from pipeline.exr.pixels import HALF_MAX, with_channels
from pipeline.radiance import Planes, auto_exposure, fill_non_finite
from pipeline.sources.render_reader import Render, radiance_path, read_render
from pipeline.sources.renders import Realisation, RenderFrame, list_frames

METERED = 16  # frames of a sequence that its exposure is measured on
AHEAD = 2  # frames decoded before they are needed


class Loaded(NamedTuple):
    """One realisation, and how many of its pixels had to be filled."""

    render: Render
    filled: int


@dataclass
class Summary:
    """What is told at the end."""

    frames: int = 0
    averaged: int = 0
    filled_pixels: int = 0
    clipped: int = 0
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.frames} frames denoised"]
        lines += [f"{self.averaged} of them the mean of several realisations"] if self.averaged else []
        lines += [f"{self.filled_pixels} pixels of NaN or infinity filled"] if self.filled_pixels else []
        lines += [f"{self.clipped} values clipped to half's largest, {HALF_MAX:g}"] if self.clipped else []
        return "; ".join(lines) + "".join(f"\nnot denoised: {line}" for line in self.left_out)


def denoise_frames(
    denoise: FrameDenoiser, inputs: list[Path], out: Path, channels: Patterns, exposure: float | None = None
) -> Summary:
    """Denoise EXR files into a folder, in one exposure for all of them: the log-average of some, unless it is given.

    Raises BadInput where an output would overwrite an input or another, or a file is damaged; what was written
    before is whole.
    """
    renders = list_frames(inputs)
    frames = renders.frames
    targets = outputs(frames, out)
    summary = Summary(left_out=[f"{lost.source}: {lost.reason}" for lost in renders.left_out])
    if not frames:
        raise BadInput("no frame to denoise", ", ".join(map(str, inputs)), "; ".join(summary.left_out[:5]))
    summary.left_out += [
        f"{file.title}: a reference" for one in frames if one.reference for file in one.reference.files
    ]
    exposure = exposure or metered(frames, channels)
    out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AHEAD) as pool:  # decoding and encoding leave Python's lock to the network
        written: Future[None] | None = None
        for number, loaded in enumerate(tqdm(read_ahead(frames, channels, pool), "denoise", len(frames), disable=None)):
            radiance = mean_radiance(denoise, frames[number], loaded, exposure)
            summary.frames += 1
            summary.averaged += len(loaded) > 1
            summary.filled_pixels += sum(one.filled for one in loaded)
            if written is not None:
                written.result()
            summary.clipped += clip_to_type(radiance, loaded[0].render)
            written = pool.submit(write_frame, loaded[0].render, radiance, targets[number])
        if written is not None:
            written.result()
    return summary


def outputs(frames: list[RenderFrame], out: Path) -> list[Path]:
    """A file a frame: the name of its radiance's, or that of the frame where it is a mean of several."""
    targets: dict[Path, RenderFrame] = {}
    inputs = {file.path.resolve() for frame in frames for file in frame.files}
    for frame in frames:
        several = len(frame.realisations) > 1
        name = f"{frame.name.rpartition('/')[2]}.exr" if several else radiance_path(frame.realisations[0]).name
        target = out / name
        if target in targets:
            got = f"{targets[target].name} and {frame.name}"
            raise BadInput("two frames of one name", target, got, "different names", "denoise them into two folders")
        if target.resolve() in inputs:
            raise BadInput("the output would overwrite the input", target, f"--out {out}", "another folder")
        targets[target] = frame
    return list(targets)


def metered(frames: list[RenderFrame], channels: Patterns) -> float:
    """The geometric mean of the exposures of at most METERED frames, evenly spread over the sequence."""
    count = min(METERED, len(frames))
    chosen = [frames[round(position)] for position in np.linspace(0, len(frames) - 1, count)]
    exposures = [auto_exposure(load(frame.realisations[0], channels).render.buffers[COLOR]) for frame in chosen]
    return float(np.exp(np.mean(np.log(exposures))))


def read_ahead(frames: list[RenderFrame], channels: Patterns, pool: ThreadPoolExecutor) -> Iterator[list[Loaded]]:
    """The realisations of each frame, decoded by threads before they are needed."""
    waiting: list[Future[list[Loaded]]] = []
    for frame in frames:
        waiting.append(pool.submit(lambda frame: [load(one, channels) for one in frame.realisations], frame))
        if len(waiting) > AHEAD:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def load(one: Realisation, channels: Patterns) -> Loaded:
    """Read a realisation and repair what is not finite of its radiance."""
    render = read_render(one, channels)
    render.buffers[COLOR], filled = fill_non_finite(render.buffers[COLOR])
    return Loaded(render, filled)


def mean_radiance(denoise: FrameDenoiser, frame: RenderFrame, loaded: list[Loaded], exposure: float) -> Planes:
    """Each realisation denoised with its own buffers; their mean, weighted by samples per pixel where known."""
    spp = [one.spp for one in frame.realisations]
    weights = [1.0] * len(loaded) if None in spp else [float(count or 1) for count in spp]
    planes = [denoise(one.render.buffers, exposure, one.render.file.where) for one in loaded]
    if len({one.shape for one in planes}) > 1:
        raise BadInput("renders of different sizes", frame.name, str([one.shape[1:] for one in planes]), "one size")
    return np.average(planes, axis=0, weights=weights).astype(np.float32)


def clip_to_type(radiance: Planes, render: Render) -> int:
    """Clip in place to what the file's channels hold; how many values that were."""
    place = render.frame.places[COLOR]
    halves = [render.frame.decoded[place.part][name].dtype == np.float16 for name in place.channels]
    high = radiance[halves] > HALF_MAX
    np.minimum(radiance, HALF_MAX, out=radiance, where=np.array(halves)[:, None, None])
    return int(high.sum())


def write_frame(render: Render, radiance: Planes, target: Path) -> None:
    place = render.frame.places[COLOR]
    changed = dict(zip(place.channels, radiance, strict=True))
    data = with_channels(render.file, place.part, render.frame.decoded[place.part], changed)
    with write_whole(target) as file:
        file.write(data)
