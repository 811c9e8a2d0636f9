"""What denoisers did to pictures: measured once each, shared out over the ranks, averaged with an interval.

Names of numbers say their domain: `srgb8` is encoded and rounded to 8 bits, `srgb` encoded, float and unclipped.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from torch import Tensor
from tqdm import tqdm

from launch.world import World
from model.fourier import consistent
from model.metrics import ms_ssim, psnr_db, ssim, to_8_bit
from pipeline.corruption import CorruptionConfig
from pipeline.gallery import Gallery

N = TypeVar("N")
T = TypeVar("T")

Denoise = Callable[[Tensor], Tensor]
"""Noisy (3, H, W) to denoised, both encoded, in [0, 1] but unclipped."""


class View(NamedTuple):
    """What a picture is, its decibels in words, and its pixels: (3, H, W) in [0, 1], unclipped."""

    label: str
    note: str
    pixels: Tensor


@dataclass(frozen=True)
class Score:
    """What a denoiser did to one picture, and what the noise had done."""

    name: str
    psnr_noisy_srgb_db: float
    psnr_srgb8_db: float
    ssim_noisy_srgb8: float
    ssim_srgb8: float
    msssim_noisy_srgb8: float | None = None
    """None for pictures too small to have one."""
    msssim_srgb8: float | None = None


class Scored(Protocol):
    """A dataclass of numbers beside the name of what was measured: of a picture, or of a frame."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Evaluation:
    """The scores of one denoiser under one noise."""

    denoiser: str
    noise: str
    scores: Sequence[Scored]


def measure(
    denoisers: Mapping[str, Denoise], gallery: Gallery, name: str, corruption: CorruptionConfig
) -> tuple[dict[str, Score], list[View]]:
    """A picture's score by each denoiser, and its noisy, denoised and clean views.

    All denoisers see the same noisy picture.
    """
    clean = gallery.clean(name)
    noisy, _, measured = gallery.noisy(name, clean, corruption)
    clean_8, noisy_8 = to_8_bit(clean), to_8_bit(noisy)
    # The noisy input is measured as it is, unclipped: sigma 25 is 20.17 dB exactly.
    psnr_noisy = psnr_db(noisy * 255, clean * 255)
    ssim_noisy, msssim_noisy = ssim(noisy_8, clean_8), ms_ssim(noisy_8, clean_8)
    scores: dict[str, Score] = {}
    views = [View("noisy", f"{psnr_noisy:.2f} dB", noisy)]
    for label, denoise in denoisers.items():
        denoised = denoise(noisy)
        if measured is not None:  # as in training; a person with a noisy picture alone has none
            denoised = consistent(denoised, noisy, measured)
        denoised_8 = to_8_bit(denoised)
        scores[label] = Score(
            name=name,
            psnr_noisy_srgb_db=psnr_noisy,
            psnr_srgb8_db=psnr_db(denoised_8, clean_8),
            ssim_noisy_srgb8=ssim_noisy,
            ssim_srgb8=ssim(denoised_8, clean_8),
            msssim_noisy_srgb8=msssim_noisy,
            msssim_srgb8=ms_ssim(denoised_8, clean_8),
        )
        what = "denoised" if len(denoisers) == 1 else f"by {label}"
        views.append(View(what, f"{scores[label].psnr_srgb8_db:.2f} dB", denoised))
    return scores, [*views, View("clean", "", clean)]


def captioned(views: Iterable[View]) -> list[tuple[str, Tensor]]:
    return [(f"{view.label} {view.note}".strip(), view.pixels) for view in views]


def share_out(names: Sequence[N], work: Callable[[N], T], world: World | None = None) -> list[T]:
    """Do the work on every name once, dealt to the ranks like cards; the results in the names' order on each rank."""
    rank, size = (world.rank, world.size) if world else (0, 1)
    shown = None if rank == 0 else True  # a bar on rank 0 alone, and only where there is a terminal
    mine = [work(name) for name in tqdm(names[rank::size], "evaluate", unit="picture", disable=shown, leave=False)]
    dealt = world.gather(mine) if world else [mine]
    return [dealt[position % size][position // size] for position in range(len(names))]


def evaluate(
    denoise: Denoise, gallery: Gallery, corruption: CorruptionConfig, world: World | None = None
) -> list[Score]:
    """Score every picture once; the same list on every rank, whatever their number."""
    return share_out(gallery.names, lambda name: measure({"": denoise}, gallery, name, corruption)[0][""], world)


def columns(scores: Iterable[Scored]) -> dict[str, list[float]]:
    """Each metric's values over the pictures that have it: it is None or not a number where one has none."""
    rows = [asdict(score) for score in scores]
    names = [name for name in rows[0] if name != "name"]
    return {name: [row[name] for row in rows if row[name] is not None and not math.isnan(row[name])] for name in names}


def mean_of(scores: Iterable[Scored]) -> dict[str, float]:
    """The mean of per-picture values: decibels are averaged, not errors. Metrics that no picture has are left out."""
    return {name: fmean(values) for name, values in columns(scores).items() if values}


def interval_of(scores: Iterable[Scored]) -> dict[str, float]:
    """Half of the 95 % confidence interval of each mean, by Student's t over the pictures.

    It says how far another sample of such pictures might lie; two denoisers on the same pictures differ by much less.
    Left out where there are fewer than two values, or an infinite one.
    """
    return {
        name: half_interval(values)
        for name, values in columns(scores).items()
        if len(values) > 1 and all(map(math.isfinite, values))
    }


def half_interval(values: Sequence[float]) -> float:
    """Of the mean of two values or more."""
    from scipy.special import stdtrit  # here, as training needs none

    return float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))
