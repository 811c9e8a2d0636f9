"""How well renders are denoised, against references of many samples per pixel."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from launch.scores import half_interval, share_out
from launch.world import World
from model.hdr_metrics import energy_bias_percent, psnr_tonemapped_db, relative_mse, smape, tone_mapped
from pipeline.errors import BadInput
from pipeline.radiance import Planes
from pipeline.realisations import RealisationSet

Denoise = Callable[[Mapping[str, NDArray[np.generic]], float], Planes]


@dataclass(frozen=True)
class RenderScore:
    """What a denoiser did to the first, noisiest, realisation of a frame."""

    name: str
    psnr_noisy_tonemapped_db: float
    psnr_tonemapped_db: float
    relative_mse: float
    smape: float
    energy_bias_percent: float


def score_frame(denoise: Denoise, frames: RealisationSet, sample: int) -> tuple[RenderScore, list[tuple[str, Tensor]]]:
    """One frame's score, and its noisy, denoised and reference views, tone-mapped, with their decibels.

    Values are those of the file: an exposure would move every number but the bias.
    """
    about = frames.about(sample)
    names = [name for name in frames.buffers(sample) if name != "json"]
    buffers = {name: frames.pixels(sample, name) for name in names}
    noisy, reference = (
        torch.from_numpy(frames.pixels(sample, name).astype(np.float32)) for name in ("color", "reference")
    )
    denoised = torch.from_numpy(denoise(buffers, float(about["exposure"])))
    score = RenderScore(
        name=str(about["source"]),
        psnr_noisy_tonemapped_db=psnr_tonemapped_db(noisy, reference),
        psnr_tonemapped_db=psnr_tonemapped_db(denoised, reference),
        relative_mse=relative_mse(denoised, reference),
        smape=smape(denoised, reference),
        energy_bias_percent=energy_bias_percent(denoised, reference),
    )
    captions = (
        f"noisy {score.psnr_noisy_tonemapped_db:.2f} dB",
        f"denoised {score.psnr_tonemapped_db:.2f} dB",
        "reference",
    )
    return score, [(text, tone_mapped(view)) for text, view in zip(captions, (noisy, denoised, reference), strict=True)]


def frames_to_score(frames: RealisationSet, limit: int = 0) -> list[int]:
    """The samples that have a reference. Raises BadInput where none has."""
    samples = [sample for sample in range(len(frames)) if frames.has_reference(sample)]
    if not samples:
        wanted = "at least one: a render of many samples per pixel beside the noisy ones"
        raise BadInput("no frame with a reference", frames.folder, f"{len(frames)} frames without", wanted)
    return samples[:limit] if limit else samples


def score_frames(
    denoise: Denoise, frames: RealisationSet, samples: list[int], world: World | None = None
) -> list[RenderScore]:
    """Score every frame once, shared out over the ranks; the same list on each."""
    return share_out(samples, lambda sample: score_frame(denoise, frames, sample)[0], world)


def mean_score(scores: list[RenderScore]) -> dict[str, float]:
    """The mean over frames of every number; a frame that is black says nothing of its bias."""
    return {name: fmean(values) if values else math.nan for name, values in columns(scores).items()}


def interval_score(scores: list[RenderScore]) -> dict[str, float]:
    """Half of the 95 % confidence interval of each mean, by Student's t over the frames.

    NaN where there are fewer than two values, or an infinite one.
    """
    return {
        name: half_interval(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
        for name, values in columns(scores).items()
    }


def columns(scores: list[RenderScore]) -> dict[str, list[float]]:
    """Each number's values over the frames that have it."""
    rows = [asdict(score) for score in scores]
    names = [name for name in rows[0] if name != "name"]
    return {name: [row[name] for row in rows if not math.isnan(row[name])] for name in names}
