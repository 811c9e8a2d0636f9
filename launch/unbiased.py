"""The error of a denoiser where nobody has a clean picture: from noisy shots alone, with its standard error.

Let a and b be shots of s with independent noises of mean zero and variances A and B, and f a denoiser. As f(a) knows
nothing of b's noise, E (f(a) - b)^2 = E (f(a) - s)^2 + B. The variances need not be equal and need not be known:
both orders together have the excess A + B, and E (a - b)^2 = A + B as well. So for every pair of a scene's shots
    U = [(f(a) - b)^2 + (f(b) - a)^2 - (a - b)^2] / 2
has the expectation of the mean of f's two errors. It is averaged over pixels, pairs and then scenes; its standard
error is that of a mean of scenes, the only parts of it that are independent. Being unbiased, it may be negative.
It holds in the units of the shots, unclipped and unrounded, and only where the noises are independent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor

from launch.world import World
from pipeline.audit import AuditConfig, audit_scene
from pipeline.errors import BadInput
from pipeline.pages.scenes_page import sample_name
from pipeline.realisations import RealisationSet
from pipeline.shard_files import ShardFiles
from pipeline.shot_pairs import Scale

SHOTS = 4  # of a longer burst, the first ones: its pairs cost a network pass each


@dataclass(frozen=True)
class SceneError:
    """Mean squared errors of one scene, white being 1."""

    name: str
    noisy_target_mse: float
    unbiased_mse: float
    noise_mse: float
    """Mean variance of the shots' noises: half of (a - b)^2, what a denoiser that does nothing would leave."""
    mse: float | None
    """Against the reference, where there is one."""
    noisy_mse: float | None
    """Of the shots against the reference."""


class Scenes:
    """The first `limit` scenes (0: all) of a set of real shots, audited once."""

    def __init__(self, of: Path | ShardFiles, limit: int = 0) -> None:
        self.shards = RealisationSet(of)
        self.scale = Scale(self.shards)
        self.samples = [s for s in range(len(self.shards)) if self.shards.realisations(s) > 1][: limit or None]
        if not self.samples:
            raise BadInput(
                "no scene of two shots",
                self.shards.files.address,
                f"{len(self.shards)} samples",
                "two realisations in some",
            )
        self.dependent = self._audit()
        """Names of the scenes whose shots are no independent witnesses, with the reasons."""

    def shots(self, sample: int) -> list[Tensor]:
        count = min(SHOTS, self.shards.realisations(sample))
        return [self.scale(self.shards.pixels(sample, "color", i)) for i in range(count)]

    def reference(self, sample: int) -> Tensor | None:
        return self.scale(self.shards.pixels(sample, "reference")) if self.shards.has_reference(sample) else None

    def _audit(self) -> dict[str, str]:
        found = {}
        for sample in self.samples:
            count = min(SHOTS, self.shards.realisations(sample))
            audit = audit_scene([self.shards.pixels(sample, "color", i) for i in range(count)])
            defects = audit.defects(AuditConfig())
            if defects:
                found[sample_name(self.shards, sample)] = "; ".join(defects)
        return found


def scene_error(denoise: Callable[[Tensor], Tensor], scenes: Scenes, sample: int) -> SceneError:
    shots = [shot.double() for shot in scenes.shots(sample)]
    denoised = [denoise(shot.float()).double() for shot in shots]
    pairs = list(permutations(range(len(shots)), 2))
    noisy_target = fmean(float((denoised[i] - shots[j]).square().mean()) for i, j in pairs)
    noise = fmean(float((shots[i] - shots[j]).square().mean()) for i, j in pairs) / 2
    reference = scenes.reference(sample)
    mse = noisy_mse = None
    if reference is not None:
        mse = fmean(float((one - reference).square().mean()) for one in denoised)
        noisy_mse = fmean(float((shot - reference).square().mean()) for shot in shots)
    name = sample_name(scenes.shards, sample)
    return SceneError(name, noisy_target, noisy_target - noise, noise, mse, noisy_mse)


def scene_errors(denoise: Callable[[Tensor], Tensor], scenes: Scenes, world: World | None = None) -> list[SceneError]:
    """Every scene once, shared out over the ranks; the same list on each."""
    rank, size = (world.rank, world.size) if world else (0, 1)
    with torch.no_grad():
        mine = [scene_error(denoise, scenes, sample) for sample in scenes.samples[rank::size]]
    dealt = world.gather(mine) if world else [mine]
    return [dealt[position % size][position // size] for position in range(len(scenes.samples))]


def summary(errors: list[SceneError], dependent: dict[str, str]) -> dict[str, float]:
    """What is reported: means over scenes, and decibels of these means with white at 1.

    The unbiased error and all that follows from it is missing where shots are dependent, and its decibels where it
    is not positive; its standard error with a single scene.
    """
    said = {"noisy_target_mse": fmean(e.noisy_target_mse for e in errors)}
    said["noisy_target_psnr_db"] = decibels(said["noisy_target_mse"])
    if not dependent:
        said |= unbiased(errors)
    clean = [(e.mse, e.noisy_mse) for e in errors if e.mse is not None and e.noisy_mse is not None]
    if clean:
        said["mse"] = fmean(mse for mse, _ in clean)
        said["psnr_db"] = decibels(said["mse"])
        said["psnr_noisy_db"] = decibels(fmean(noisy for _, noisy in clean))
    return {name: value for name, value in said.items() if math.isfinite(value)}


def unbiased(errors: list[SceneError]) -> dict[str, float]:
    mean = fmean(e.unbiased_mse for e in errors)
    error = stdev(e.unbiased_mse for e in errors) / math.sqrt(len(errors)) if len(errors) > 1 else math.nan
    per_db = 10 / math.log(10) / mean if mean > 0 else math.nan  # of the logarithm, to first order
    return {
        "unbiased_mse": mean,
        "unbiased_mse_se": error,
        "unbiased_psnr_db": decibels(mean),
        "unbiased_psnr_db_se": per_db * error,
    }


def decibels(mse: float) -> float:
    return -10 * math.log10(mse) if mse > 0 else math.nan


def refusal(dependent: dict[str, str]) -> str:
    """Why there is no unbiased error."""
    some = "; ".join(f"{name}: {reason}" for name, reason in list(dependent.items())[:3])
    return (
        f"no unbiased error: {len(dependent)} scenes fail the audit, so that noisy targets are no witnesses ({some}); "
        "see `n2n inspect --audit`, and make the set again with --audit leave-out"
    )


def scenes_table(errors: list[SceneError], said: dict[str, float], dependent: dict[str, str]) -> str:
    """One line a scene and the summary, as text."""
    width = max(len("scene"), *(len(error.name) for error in errors))
    lines = [f"{'scene':{width}}  noisy-target MSE  unbiased MSE  MSE to reference"]
    for error in errors:
        unbiased_mse = "      refused" if dependent else f"{error.unbiased_mse:13.3e}"
        truth = "-" if error.mse is None else f"{error.mse:.3e}"
        lines.append(f"{error.name:{width}}  {error.noisy_target_mse:16.3e} {unbiased_mse}  {truth:>16}")
    lines += [f"{name}: {value:.6g}" for name, value in said.items()]
    return "\n".join(lines + ([refusal(dependent)] if dependent else []))
