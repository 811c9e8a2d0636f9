"""How well renders are denoised, against references of many samples per pixel."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from launch.evaluation.scores import View, columns, interval_of, mean_of, share_out
from launch.world import World
from model.hdr_metrics import energy_bias_percent, psnr_tonemapped_db, relative_mse, smape, tone_mapped
from pipeline.errors import BadInput
from pipeline.pages.scenes_page import sample_name
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


def measure_frame(
    denoisers: Mapping[str, Denoise], frames: RealisationSet, sample: int
) -> tuple[dict[str, RenderScore], list[View]]:
    """One frame's score by each denoiser, and its noisy, denoised and reference views, tone-mapped.

    Values are those of the file: an exposure would move every number but the bias.
    """
    exposure = float(frames.about(sample)["exposure"])
    buffers = {name: frames.pixels(sample, name) for name in frames.buffers(sample) if name != "json"}
    noisy, reference = (
        torch.from_numpy(frames.pixels(sample, name).astype(np.float32)) for name in ("color", "reference")
    )
    psnr_noisy = psnr_tonemapped_db(noisy, reference)
    scores: dict[str, RenderScore] = {}
    views = [View("noisy", f"{psnr_noisy:.2f} dB", tone_mapped(noisy))]
    for label, denoise in denoisers.items():
        denoised = torch.from_numpy(denoise(buffers, exposure))
        scores[label] = RenderScore(
            name=sample_name(frames, sample),
            psnr_noisy_tonemapped_db=psnr_noisy,
            psnr_tonemapped_db=psnr_tonemapped_db(denoised, reference),
            relative_mse=relative_mse(denoised, reference),
            smape=smape(denoised, reference),
            energy_bias_percent=energy_bias_percent(denoised, reference),
        )
        what = "denoised" if len(denoisers) == 1 else f"by {label}"
        views.append(View(what, f"{scores[label].psnr_tonemapped_db:.2f} dB", tone_mapped(denoised)))
    return scores, [*views, View("reference", "", tone_mapped(reference))]


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
    return share_out(samples, lambda sample: measure_frame({"": denoise}, frames, sample)[0][""], world)


def mean_score(scores: list[RenderScore]) -> dict[str, float]:
    """The mean over frames of every number; a frame that is black says nothing of its bias."""
    return dict.fromkeys(columns(scores), math.nan) | mean_of(scores)


def interval_score(scores: list[RenderScore]) -> dict[str, float]:
    """Half of the 95 % confidence interval of each mean, by Student's t over the frames.

    NaN where there are fewer than two values, or an infinite one.
    """
    return dict.fromkeys(columns(scores), math.nan) | interval_of(scores)
