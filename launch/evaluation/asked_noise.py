"""The test noise asked for on a command line: `poisson`, or `gaussian:sigma_255=50`."""

import argparse
from collections.abc import Iterable
from dataclasses import replace

from pipeline.corruption import PUBLISHED_TEST, CorruptionConfig
from pipeline.errors import BadInput

STRENGTHS = {
    "sigma_255": "gaussian, brown: standard deviation in 8-bit units",
    "bandwidth_px": "brown: standard deviation of the blur in pixels",
    "photons": "poisson: expected count at white",
    "electrons": "camera, camera_text: photo-electrons at white",
    "read_noise_e": "camera, camera_text: standard deviation of the read noise in electrons",
    "p": "bernoulli, impulse: share of lost pixels; text, camera_text: of pixels written over",
    "edge_p": "mri: share of the finest frequencies that are measured",
}


def add_noise_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corruption",
        action="append",
        metavar="NAME[:OPTION=VALUE,...]",
        help=f"test noise, again for several: {', '.join(sorted(PUBLISHED_TEST))} (default: the run's own)",
    )
    for option, meaning in STRENGTHS.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=float, help=f"{meaning} (default: as published)")


def asked_corruptions(options: argparse.Namespace, names: Iterable[str]) -> list[CorruptionConfig]:
    """The corruptions named, at the strengths asked for.

    A strength given by itself is for every corruption that has it. Raises BadInput where none of them does, or where
    one cannot have the value.
    """
    common = {name: getattr(options, name) for name in STRENGTHS if getattr(options, name) is not None}
    corruptions = [corruption_of(text, common) for text in names]
    for name, value in common.items():
        if all(getattr(corruption, name) is None for corruption in corruptions):
            named = ", ".join(corruption.name for corruption in corruptions)
            raise BadInput("the test noise cannot be had", "the command line", f"{name} {value:g}, but {named}")
    return corruptions


def corruption_of(text: str, common: dict[str, float]) -> CorruptionConfig:
    name, _, settings = text.partition(":")
    if name not in PUBLISHED_TEST:
        raise BadInput("no such corruption", "the command line", name, ", ".join(sorted(PUBLISHED_TEST)))
    own: dict[str, float] = {}
    for setting in filter(None, settings.split(",")):
        option, _, value = setting.partition("=")
        if option not in STRENGTHS or not is_number(value):
            wanted = f"OPTION=VALUE with an option of {', '.join(STRENGTHS)}"
            raise BadInput("not a strength of the test noise", "the command line", f"{name}:{setting}", wanted)
        own[option] = float(value)
    published = PUBLISHED_TEST[name]
    shared = {option: value for option, value in common.items() if option in published.settings}
    try:
        return replace(published, **(shared | own))  # type: ignore[arg-type]  # the names are those of fields of float
    except ValueError as error:
        raise BadInput("the test noise cannot be had", "the command line", str(error)) from error


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def noise_label(corruption: CorruptionConfig) -> str:
    """`gaussian sigma_255=25`: the corruption and what tells it from others of its name."""
    settings = (f"{name}={value:g}" for name, value in corruption.numbers.items() if isinstance(value, (int, float)))
    return " ".join([corruption.name, *settings])
