"""The corruption of a run, and the views that it makes of clean pictures, one by one or in batches."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipeline.corruptions.camera import SENSORS, to_linear, to_srgb
from pipeline.corruptions.draws import Generators, Strength, strength
from pipeline.corruptions.registry import LAWS, Law, Option, Range, Statistic, Strengths, View

PER_UNIT = {"sigma_255": 255.0}  # of the options that are not in the unit of their law


@dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """Which noise source and target get. Options left out are the published ones of the corruption named."""

    name: Literal[
        "none", "gaussian", "brown", "poisson", "camera", "bernoulli", "impulse", "text", "camera_text", "mri"
    ] = "gaussian"
    """Each is described in its file under pipeline/corruptions; none is for real noisy shots."""
    sigma_255: Range | None = None
    """gaussian, brown: standard deviation in 8-bit units, a value or a range; by default [0, 50], brown 25."""
    bandwidth_px: float | None = None
    """brown: standard deviation of the blur that the noise has been through, in pixels; by default 2."""
    photons: Range | None = None
    """poisson: expected count at white, a value or a range; by default [0.001, 50]."""
    sensor: Literal["phone", "full_frame"] | None = None
    """camera, camera_text: preset of the next two; by default phone."""
    electrons: Range | None = None
    """camera, camera_text: photo-electrons at white, a value or a range, which is drawn from evenly in stops."""
    read_noise_e: float | None = None
    """camera, camera_text: standard deviation of reading a pixel out, in electrons."""
    p: Range | None = None
    """bernoulli, impulse: probability that a pixel is lost, by default [0, 0.95]. text, camera_text: share of the
    pixels that is written over, by default [0, 0.5]."""
    edge_p: Range | None = None
    """mri: probability that the finest frequency along an axis is measured; by default 0.025, a tenth of all."""

    def __post_init__(self) -> None:
        known = self.settings.keys()
        for option in (field.name for field in fields(self) if field.name != "name"):
            if getattr(self, option) is not None and option not in known:
                raise ValueError(f"corruption.{option} is {getattr(self, option)}, but {self.name} has no such option")
        for option, rule in self.law.options.items():
            rule.refuse(option, self.numbers[option])

    @property
    def settings(self) -> dict[str, Range | str]:
        """Every option that the corruption has, as given or by default."""
        settings: dict[str, Range | str] = dict(self.numbers)
        return settings | ({"sensor": self.sensor or "phone"} if "electrons" in settings else {})

    @property
    def numbers(self) -> dict[str, Range]:
        """The options of the law, as given or by default."""
        defaults = {name: option.default for name, option in self.law.options.items()}
        if "electrons" in defaults:
            sensor = SENSORS[self.sensor or "phone"]
            defaults |= {"electrons": sensor.electrons, "read_noise_e": sensor.read_noise_e}
        given = {name: getattr(self, name) for name in defaults}
        return {name: default if given[name] is None else given[name] for name, default in defaults.items()}

    def settled(self) -> "CorruptionConfig":
        """The same with its defaults written out, for a run that says what it was.

        Not done at creation: the parser would take the defaults of one corruption for options given of another.
        """
        return replace(self, **self.settings)  # type: ignore[arg-type]  # each is of its field's type

    @property
    def law(self) -> Law:
        return LAWS[self.name]

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """Which statistics of a target equal the clean picture, at the strengths configured."""
        if self.name == "impulse":
            p = self.numbers["p"]
            most = p[1] if isinstance(p, tuple) else p
            return ("mode", "median") if most < 0.5 else ("mode",)  # below, more than half of the values are clean
        return self.law.statistics

    def at_test_strength(self) -> "CorruptionConfig":
        """The same with the published fixed strength, or ours where nothing is published."""
        tests = {name: option.test for name, option in self.law.options.items() if option.test is not None}
        return replace(self, **tests)  # type: ignore[arg-type]  # the names are those of fields of float


# None is nothing to be tested under.
PUBLISHED_TEST = {
    name: CorruptionConfig(name=name).at_test_strength()  # type: ignore[arg-type]
    for name in LAWS
    if name != "none"
}


def draw_strengths(config: CorruptionConfig, generators: Generators) -> Strengths:
    """The law's numbers: the drawn ones from their ranges in the order of the law's table, constants as they are."""
    numbers = config.numbers
    return {name: draw(numbers[name], name, option, generators) for name, option in config.law.options.items()}


def draw(value: Range, name: str, option: Option, generators: Generators) -> Strength:
    if option.test is None:
        assert not isinstance(value, tuple)  # typed and checked: constants are not drawn
        return value
    low, high = value if isinstance(value, tuple) else (value, value)
    # In double precision, then rounded once to that of the pixels: so a batch equals its pictures.
    drawn = strength(low, high, generators, option.stops) / PER_UNIT.get(name, 1.0)
    return drawn.float() if isinstance(drawn, Tensor) else float(np.float32(drawn))


def corrupt(clean: Tensor, config: CorruptionConfig, generators: Generators) -> View:
    """What a network is shown of clean (..., C, H, W) in [0, 1]: strength, then noise, are drawn from the generator.

    Always as encoded in the file, sRGB: a curve over the input biases nothing.
    """
    view = noisy_view(clean, config, generators)
    return view._replace(pixels=shown(view, config))


def noisy_view(
    clean: Tensor, config: CorruptionConfig, generators: Generators, strengths: Strengths | None = None
) -> View:
    """A noisy view as targets are given, linear where the law is; draws its strengths unless they are given."""
    return config.law.view(clean, strengths or draw_strengths(config, generators), generators)


def two_views(clean: Tensor, config: CorruptionConfig, generators: Generators) -> tuple[View, View]:
    """Source and target, independent of each other given the strengths.

    In this order from each generator: source strength, source noise, target strength, target noise; the second
    strength is the first where the law has one a pair.
    """
    strengths = draw_strengths(config, generators)
    source = noisy_view(clean, config, generators, strengths)
    return source, noisy_view(clean, config, generators, strengths if config.law.per_pair else None)


def clean_view(clean: Tensor, config: CorruptionConfig) -> View:
    """The target without noise, all of it valid."""
    masked = "masked mean" in config.law.statistics
    weight = torch.ones_like(clean[..., :1, :, :]) if masked else None
    return View(to_linear(clean) if config.law.linear else clean, weight)


def shown(view: View, config: CorruptionConfig) -> Tensor:
    """A view's pixels as sRGB: for the network's input, for looking and for metrics."""
    return to_srgb(view.pixels) if config.law.linear else view.pixels
