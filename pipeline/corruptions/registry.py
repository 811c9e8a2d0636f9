"""The one table of corruptions: name -> law, strengths, and which statistic of it equals the clean picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.corruptions.bernoulli import bernoulli
from pipeline.corruptions.camera import SENSORS, camera, to_linear, to_srgb
from pipeline.corruptions.draws import Generators, Strength
from pipeline.corruptions.gaussian import brown, gaussian
from pipeline.corruptions.impulse import impulse
from pipeline.corruptions.mri import mri
from pipeline.corruptions.poisson import poisson
from pipeline.corruptions.text import text

Range = float | tuple[float, float]
Statistic = Literal["mean", "median", "mode", "masked mean"]
Strengths = Mapping[str, Strength]


class View(NamedTuple):
    """Noisy pixels, as a target is given, and what else is known of them."""

    pixels: Tensor
    weight: Tensor | None = None
    """Of each in a masked loss, (..., 1, H, W), where the law has one."""
    measured: Tensor | None = None
    """Which frequencies they hold and how, (..., 1, H, W // 2 + 1), where the law is one of frequencies: see mri."""


@dataclass(frozen=True)
class Option:
    """A number of a law: its default for training, what is allowed, and the test strength."""

    default: Range
    least: float
    most: float
    test: float | None = None
    """None: it is no strength but a constant of the law, never drawn, and tested as trained."""
    stops: bool = False
    """Drawn uniformly in its logarithm."""

    def refuse(self, name: str, value: Range) -> None:
        """Raise ValueError unless `value` is a number, or where it is drawn a range, that is allowed."""
        low, high = value if isinstance(value, tuple) else (value, value)
        if not self.least <= low <= high <= self.most:
            kind = "a value" if self.test is None else "a value or a range [low, high]"
            raise ValueError(f"corruption.{name} is {value}; wanted {kind} within [{self.least:g}, {self.most:g}]")


@dataclass(frozen=True)
class Law:
    """A corruption: what makes a view, and what is known about it."""

    view: Callable[[Tensor, Strengths, Generators], View]
    options: Mapping[str, Option]
    statistics: tuple[Statistic, ...]
    """Those of the view that equal the clean picture, over every strength allowed."""
    per_pair: bool = False
    """Source and target share their strengths; otherwise each draws its own."""
    linear: bool = False
    """The view is linear light, to be compared with clean linear light."""
    local: bool = True
    """A part of a view is a view of that part. Otherwise a crop has to come before the noise."""
    device: bool = True
    """It can be drawn by Philox, wherever the network is. Otherwise workers draw it."""


def no_view(clean: Tensor, _s: Strengths, _generators: Generators) -> View:
    """As it came: real shots bring their own noise, of mean zero but of no known median."""
    return View(clean)


def gaussian_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    return View(gaussian(clean, s["sigma_255"], generators))


def brown_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    return View(brown(clean, s["sigma_255"], float(s["bandwidth_px"]), generators))


def poisson_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    return View(poisson(clean, s["photons"], generators))


def camera_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    return View(camera(clean, s["electrons"], float(s["read_noise_e"]), generators))


def bernoulli_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    return View(*bernoulli(clean, s["p"], generators))


def impulse_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    return View(impulse(clean, s["p"], generators))


def text_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    return View(text(clean, s["p"], generators)[0])


def camera_text_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    """Camera noise with text over it, as seen and so in sRGB; given back as linear light.

    Where there is no ink it is camera noise, whose mean is the clean picture: hence the masked mean. No statistic
    of all pixels will do. With a share p of ink on one side of a pixel, the median of noise of standard deviation
    s moves by about 1.25 s p / (1 - p), 0.4 s at p = 1/4; and photon noise has neither median nor mode at its mean.
    """
    noisy = camera_view(clean, s, generators).pixels
    written, covered = text(to_srgb(noisy), s["p"], generators)
    return View(torch.where(covered > 0, to_linear(written), noisy), 1 - covered)


def mri_view(clean: Tensor, s: Strengths, generators: Generators) -> View:
    noisy, measured = mri(clean, s["edge_p"], generators)
    return View(noisy, measured=measured)


SIGMA = Option((0.0, 50.0), 0.0, inf, test=25.0)
BANDWIDTH = Option(2.0, 0.0, 64.0)
PHOTONS = Option((0.001, 50.0), 1e-6, inf, test=30.0)
ELECTRONS = Option(SENSORS["phone"].electrons, 1e-3, inf, test=400.0, stops=True)
READ_NOISE = Option(SENSORS["phone"].read_noise_e, 0.0, inf)
WRITTEN = Option((0.0, 0.5), 0.0, 0.5, test=0.25)
CAMERA = {"electrons": ELECTRONS, "read_noise_e": READ_NOISE}

# Ranges and test strengths: Lehtinen et al. 2018, section 3 and table 1. The paper has no camera: 400 electrons at
# white is a phone at ISO 625.
LAWS = {
    "none": Law(no_view, {}, ("mean",), device=False),
    "gaussian": Law(gaussian_view, {"sigma_255": SIGMA}, ("mean", "median", "mode")),
    "brown": Law(
        brown_view,
        {"sigma_255": Option(25.0, 0.0, inf, test=25.0), "bandwidth_px": BANDWIDTH},
        ("mean", "median", "mode"),
    ),
    "poisson": Law(poisson_view, {"photons": PHOTONS}, ("mean",)),
    "camera": Law(camera_view, CAMERA, ("mean",), linear=True),
    "bernoulli": Law(bernoulli_view, {"p": Option((0.0, 0.95), 0.0, 0.95, test=0.5)}, ("masked mean",)),
    "impulse": Law(impulse_view, {"p": Option((0.0, 0.95), 0.0, 0.95, test=0.7)}, ("mode",), per_pair=True),
    "text": Law(text_view, {"p": WRITTEN}, ("median", "mode"), device=False),
    "camera_text": Law(camera_text_view, {**CAMERA, "p": WRITTEN}, ("masked mean",), linear=True, device=False),
    "mri": Law(mri_view, {"edge_p": Option(0.025, 1e-4, 1.0, test=0.025)}, ("mean",), local=False, device=False),
}
