"""The configuration: file and command line, and what is said about mistakes."""

import dataclasses
import re
from pathlib import Path

import pytest

from launch.config import flatten, parse_config, refuse_change, to_dict
from pipeline.errors import BadInput

NEEDED = ["--run=r", "--data.train=d"]


def test_command_line_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("optim: {lr: 1e-4}\npairs: {crop: 48}\ncorruption: {sigma_255: [0, 1e+1]}\n")
    config = parse_config([*NEEDED, "--config", str(file), "--pairs.crop=40"])
    assert config.optim.lr == 1e-4
    assert config.pairs.crop == 40
    assert config.corruption.sigma_255 == (0.0, 10.0)
    assert config.train.batch == 16


def test_a_file_and_values_need_no_dashes(tmp_path: Path) -> None:
    """The form for torchrun, whose parser takes --run for one of its own options."""
    file = tmp_path / "c.yaml"
    file.write_text("pairs: {crop: 48}\n")
    config = parse_config([str(file), "run=r", "data.train=a=b", "optim.lr=1e-4"])
    assert parse_config(["--run", "lr=1/first", "data.train=d"]).run == "lr=1/first"
    assert (config.run, config.data.train, config.pairs.crop, config.optim.lr) == ("r", "a=b", 48, 1e-4)


@pytest.mark.parametrize("text", ["25", "[0, 50]", "12.5"])
def test_strength_is_a_number_or_a_range(text: str) -> None:
    config = parse_config([*NEEDED, f"--corruption.sigma_255={text}"])
    assert config.corruption.sigma_255 in (25, (0, 50), 12.5)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--optim.lrr=1", "did you mean optim.lr?"),
        ("--pears.crop=1", "did you mean pairs.crop?"),
        ("--pairs.crop=large", "pairs.crop"),
        ("--pairs.crop=0", "at least 1 pixel"),
        ("--corruption.sigma_255=[50, 0]", "sigma_255"),
        ("--corruption.sigma=1", "did you mean corruption.sigma_255?"),
        ("--pairs.target=dirty", "pairs.target"),
        ("--train.batch=1.5", "train.batch"),
        ("--config=none.yaml", "none.yaml"),
    ],
)
def test_a_mistake_is_told_with_what_was_meant(argument: str, told: str) -> None:
    with pytest.raises(BadInput, match=re.escape(told)):
        parse_config([*NEEDED, argument])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("corruptoin: {sigma_255: 25}", "did you mean corruption"),
        ("corruption: {sigma: 25}", "sigma"),
        ("optim: {lr: fast}", "optim.lr"),
        ("optim: [", "config"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=re.escape(told)):
        parse_config([*NEEDED, "--config", str(file)])


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BadInput, match="run"):
        parse_config(["--data.train=d"])


def test_the_resolved_configuration_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_config([*NEEDED, "--optim.lr=3e-4", "--print_config"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "lr: 0.0003" in printed
    assert "batch: 16" in printed


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_config(["--help"])
    assert "the supervised baseline" in " ".join(capsys.readouterr().out.split())


def test_harmless_changes_are_listed_and_others_refused() -> None:
    before = parse_config(NEEDED)
    saved = to_dict(before)
    longer = dataclasses.replace(before, train=dataclasses.replace(before.train, images=5))
    assert refuse_change(saved, before, Path("r")) == []
    assert refuse_change(saved, longer, Path("r")) == ["train.images: 1000000 -> 5"]
    reseeded = dataclasses.replace(longer, seed=1)
    with pytest.raises(BadInput, match="seed: 0 -> 1"):
        refuse_change(saved, reseeded, Path("r"))


def test_every_value_of_a_configuration_has_a_name() -> None:
    assert "optim.ramp_down" in flatten(to_dict(parse_config(NEEDED)))
