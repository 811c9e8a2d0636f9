"""The configuration of a run: composed of its components' own, from defaults < YAML file < command line."""

import dataclasses
import difflib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import jsonargparse

from launch.optimizer import OptimConfig
from launch.state import TrainConfig
from launch.tracking import WandbConfig
from model.losses import LossConfig
from model.network import NetworkConfig
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.loader import LoaderConfig
from pipeline.pairs import PairsConfig
from pipeline.radiance import RendersConfig
from pipeline.remote.cache import CacheConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the pictures are."""

    train: str = ""
    """Folder of the shard set to train on, or its address at s3://, gs:// or https://."""
    kind: Literal["pictures", "renders"] = "pictures"
    """What the sets hold: pictures, to which noise is added, or several noisy renders of each frame."""
    render: str = ""
    """Instead of a set of renders: the word rooms, one of Mitsuba's scenes (*.xml), a folder of them or a glob. Frames
    are rendered for the draws, and forgotten; each of loader.workers has a renderer. See docs/renders.md."""
    render_spp: int = 8
    """Samples per pixel of either of a frame's two realisations."""
    render_size: int = 256
    """Side of the frames, in pixels, of which the crops alone are rendered."""
    validation: str = ""
    """Shard set, also at an address, or folder of clean pictures to validate on; empty for no validation."""
    validation_pictures: int = 32
    """How many of them, the first ones; 0 for all."""
    cache: CacheConfig = field(default_factory=CacheConfig)

    def __post_init__(self) -> None:
        for name in ("render_spp", "render_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name} is {getattr(self, name)}; wanted at least 1")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a run."""

    run: str
    """Folder of the run; the same command with the same folder resumes it."""
    data: DataConfig
    init: str = ""
    """Weights to begin with instead of fresh ones, to go on from there on other data: a run, a checkpoint, a file of
    `n2n export --format safetensors`, or weights:NAME of `n2n models`. The network must be theirs."""
    seed: int = 0
    """Of the network's first weights, the order of samples, crops and noise."""
    pairs: PairsConfig = field(default_factory=PairsConfig)
    renders: RendersConfig = field(default_factory=RendersConfig)
    corruption: CorruptionConfig = field(default_factory=CorruptionConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)


# A resumed run may differ in these: where and how fast it runs, what it reports, and how long it goes on.
HARMLESS = (
    "run",
    "data.train",
    "data.render",
    "data.validation",
    "data.validation_pictures",
    *(f"data.cache.{field.name}" for field in dataclasses.fields(CacheConfig)),
    "loader.workers",
    "loader.prefetch",
    "train.images",
    *(f"train.{what}_every_{unit}" for what in ("log", "validate", "checkpoint") for unit in ("images", "minutes")),
    "train.keep_checkpoints",
    "train.keep_every_images",
    "train.best_metric",
    "train.accumulate",
    "train.compile",
    *(f"wandb.{field.name}" for field in dataclasses.fields(WandbConfig)),
)


class ConfigParser(jsonargparse.ArgumentParser):
    """A parser whose error names the nearest option, and ends with exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise BadInput(
            "the configuration is wrong",
            where="the command line or the file it names",
            got=" ".join(str(message).split()),
            todo=f"{self.suggestion(str(message))}see every option with `n2n train --help`",
        ) from ex

    def suggestion(self, message: str) -> str:
        names = [action.dest for action in self._actions if action.dest != "help"]
        asked = re.findall(r"[\w.]+", message)
        for word in asked:
            near = difflib.get_close_matches(word.lstrip("-"), names, n=1, cutoff=0.75)
            if near and word not in names:
                return f"did you mean {near[0]}? "
        return ""


def parse_config(arguments: list[str] | None = None) -> RunConfig:
    """The run's configuration from a command line. Raises BadInput naming what is wrong and what was meant."""
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)  # they are the help texts
    parser = ConfigParser(
        prog="n2n train", description="Train a denoiser from noisy pictures alone.", allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="a YAML file of these options")
    parser.add_class_arguments(RunConfig, as_group=False)
    try:
        parsed = parser.instantiate(parser.parse_args(spelled_out(sys.argv[1:] if arguments is None else arguments)))
    except ValueError as error:  # from a component's own check of its values
        parser.error(str(error), error)
    config = RunConfig(**{field.name: parsed[field.name] for field in dataclasses.fields(RunConfig)})
    return dataclasses.replace(config, corruption=config.corruption.settled())


def spelled_out(arguments: list[str]) -> list[str]:
    """`FILE.yaml name=value` as `--config FILE.yaml --name=value`; what is spelled so already stays.

    The short form is for torchrun, whose own parser refuses a bare --run as an abbreviation of its --run-path.
    """
    result: list[str] = []
    for position, argument in enumerate(arguments):
        before = arguments[position - 1] if position else ""
        is_value = before.startswith("--") and "=" not in before  # such as the a=b of `--run a=b`
        if position == 0 and argument.endswith((".yaml", ".yml")):
            result += ["--config", argument]
        elif re.match(r"[a-z][\w.]*=", argument) and not is_value:
            result.append(f"--{argument}")
        else:
            result.append(argument)
    return result


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The configuration as nested dictionaries of plain values."""
    return dataclasses.asdict(config)


def refuse_change(saved: Mapping[str, Any], config: RunConfig, run: Path) -> list[str]:
    """Compare a run's saved configuration with the one it is resumed with.

    Returns the harmless differences, a line each; raises BadInput where others would make it another run.
    """
    defaults = RunConfig(run="", data=DataConfig())  # for options that were not there yet
    before, now = flatten(to_dict(defaults)) | flatten(saved), flatten(to_dict(config))
    changed = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    lines = {name: f"{name}: {before.get(name)} -> {now.get(name)}" for name in changed}
    harmful = [line for name, line in lines.items() if name not in HARMLESS]
    if harmful:
        raise BadInput(
            "this run was started with another configuration",
            where=run,
            got="".join(f"\n            {line}" for line in harmful),
            wanted="the same values as before (length, intervals, workers and tracking may change)",
            todo="restore them to resume, or start another run with --run",
        )
    return list(lines.values())


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
