"""EXR frames denoised: radiance replaced, everything else as it was."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from launch.denoising.asked_files import Asked, refuse_overwriting
from launch.denoising.files import Done, Job, Plan, middle
from launch.denoising.journal import Journal
from launch.frame_denoiser import FrameDenoiser
from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.exr.buffers import COLOR, Patterns
from pipeline.exr.pixels import HALF_MAX, with_channels
from pipeline.radiance import Planes, auto_exposure, fill_non_finite, reinhard
from pipeline.sources.render_names import SUFFIX
from pipeline.sources.render_reader import Render, radiance_path, read_render
from pipeline.sources.renders import Realisation, RenderFrame, list_frames

METERED = 16  # frames of a sequence that its exposure is measured on


class Loaded(NamedTuple):
    """One realisation, and how many of its pixels had to be filled."""

    render: Render
    filled: int


Frames = dict[Path, RenderFrame]
"""By the file that each becomes."""


def plan_frames(asked: Asked) -> tuple[Plan, Frames]:
    """Files grouped into frames, a job each. Raises BadInput where two results would share a name."""
    found = list_frames([path for path in asked.targets if path.suffix.lower() == SUFFIX])
    frames: Frames = {}
    for frame in found.frames:
        place = target_of(frame, asked)
        if place in frames:
            got = f"{frames[place].name} and {frame.name}"
            raise BadInput("two frames of one name", place, got, "different names", "denoise them into two folders")
        frames[place] = frame
    refuse_overwriting(asked.targets, frames)
    refused = [
        f"{path}: by its name no OpenEXR file, which this network wants"
        for path in asked.targets
        if path.suffix.lower() != SUFFIX
    ]
    refused += [f"{lost.source}: {lost.reason}" for lost in found.left_out if lost.kind != "spare"]
    passed = [f"{lost.source}: {lost.reason}" for lost in found.left_out if lost.kind == "spare"]
    passed += [f"{file.title}: a reference" for one in found.frames if one.reference for file in one.reference.files]
    means = sum(len(frame.realisations) > 1 for frame in found.frames)
    asides = [f"{means} of the frames of several realisations, denoised to their mean"] if means else []
    asides += [f"{asked.passed_over} other files passed over"] if asked.passed_over else []
    jobs = [Job(sources_of(frame), place) for place, frame in frames.items()]
    return Plan(jobs, refused, passed, asides), frames


def target_of(frame: RenderFrame, asked: Asked) -> Path:
    """Named as its radiance's file, or as the frame where it is the mean of several."""
    place = asked.targets[radiance_path(frame.realisations[0])]
    return place.with_name(frame.name.rpartition("/")[2] + SUFFIX) if len(frame.realisations) > 1 else place


def sources_of(frame: RenderFrame) -> tuple[Path, ...]:
    radiance = [radiance_path(one) for one in frame.realisations]
    return tuple(dict.fromkeys([*radiance, *(file.path for one in frame.realisations for file in one.files)]))


def exposure_of(plan: Plan, frames: Frames, journal: Journal, channels: Patterns, again: bool) -> float:
    """One exposure for all: that of the frames which an earlier run has finished, or measured.

    So a sequence that grows, or one damaged frame of it that is made again, leaves the others as they are.
    """
    kept = [] if again else [journal.note(job.sources, job.target) for job in plan.jobs]
    noted = Counter(note for note in kept if note is not None)
    return float(noted.most_common(1)[0][0]) if noted else metered(list(frames.values()), channels)


def metered(frames: list[RenderFrame], channels: Patterns) -> float:
    """The geometric mean of the exposures of METERED frames that can be read, evenly spread over the sequence."""
    count = min(METERED, len(frames))
    spread = [round(position) for position in np.linspace(0, len(frames) - 1, count)]
    exposures: list[float] = []
    for number in dict.fromkeys([*spread, *range(len(frames))]):
        if len(exposures) < count:
            with suppress(BadInput):  # it is told when its turn comes
                exposures.append(auto_exposure(load(frames[number].realisations[0], channels).render.buffers[COLOR]))
    return float(np.exp(np.mean(np.log(exposures)))) if exposures else 1.0


class FramesWork:
    """Frames in one exposure, which the journal notes."""

    def __init__(self, denoiser: FrameDenoiser, frames: Frames, channels: Patterns, exposure: float) -> None:
        self.denoiser = denoiser
        self.frames = frames
        self.channels = channels
        self.note = exposure

    def load(self, job: Job) -> list[Loaded]:
        return [load(one, self.channels) for one in self.frames[job.target].realisations]

    def denoise(self, job: Job, loaded: list[Loaded], show: bool) -> Callable[[], Done]:
        """The denoised realisations' mean takes the place of the radiance in the first one's file."""
        radiance = mean_radiance(self.denoiser, self.frames[job.target], loaded, self.note)
        render = loaded[0].render

        def rest() -> Done:
            clipped = clip_to_type(radiance, render)
            job.target.parent.mkdir(parents=True, exist_ok=True)
            write_frame(render, radiance, job.target)
            noisy = self.for_the_eye(render.buffers[COLOR].astype(np.float32))
            return Done(sum(one.filled for one in loaded), noisy, self.for_the_eye(radiance), clipped)

        return rest

    def for_the_eye(self, radiance: Planes) -> Tensor:
        return torch.from_numpy(reinhard(middle(radiance) * np.float32(self.note)))


def load(one: Realisation, channels: Patterns) -> Loaded:
    """Read a realisation and repair what is not finite of its radiance. Raises BadInput where nothing is."""
    render = read_render(one, channels)
    color, filled = fill_non_finite(render.buffers[COLOR])
    if filled == color[0].size:
        raise BadInput("a frame without a number in it", radiance_path(one), "NaN or infinity alone", "finite pixels")
    render.buffers[COLOR] = color
    return Loaded(render, filled)


def mean_radiance(denoise: FrameDenoiser, frame: RenderFrame, loaded: list[Loaded], exposure: float) -> Planes:
    """Each realisation denoised with its own buffers; their mean, weighted by samples per pixel where known."""
    spp = [one.spp for one in frame.realisations]
    weights = [1.0] * len(loaded) if None in spp else [float(count or 1) for count in spp]
    refuse_sizes((one.render.buffers[COLOR].shape[1:] for one in loaded), frame.name)
    planes = [denoise(one.render.buffers, exposure, one.render.file.where) for one in loaded]
    return np.average(planes, axis=0, weights=weights).astype(np.float32)


def refuse_sizes(sizes: Iterable[tuple[int, ...]], where: str) -> None:
    different = sorted(set(sizes))
    if len(different) > 1:
        raise BadInput("renders of different sizes", where, str(different), "one size")


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
