"""The documents keep their word: every command, target, option and file that they name exists."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.run import get_args_parser

from launch.cli import VERBS
from launch.config import flatten, parse_config, to_dict
from launch.objective import choose_loss
from model.losses import LossConfig
from pipeline.corruption import CorruptionConfig
from pipeline.corruptions.registry import LAWS

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def text_of(document: str) -> str:
    return (ROOT / document).read_text().replace("\\\n", " ")


def commands(program: str) -> list[list[str]]:
    """Every indented or quoted command of a program in the documents, as words."""
    lines = [line for document in DOCUMENTS for line in text_of(document).splitlines()]
    found = [line.strip() for line in lines if line.startswith("    ")]
    found += [match for line in lines for match in re.findall(r"`([^`]+)`", line)]
    words = [shlex.split(line, comments=True) for line in found if line.startswith(program)]
    return [line for line in words if len(line) > 1 and line[0] == program]


@pytest.mark.parametrize("words", commands("n2n"), ids=" ".join)
def test_commands_name_verbs_and_options_that_exist(words: list[str], run_verb: Any) -> None:
    assert words[1] in VERBS
    if any(word.startswith("--") for word in words[2:]):
        listed = run_verb("launch.cli", words[1], "--help").stdout
        assert all(word.split("=")[0] in listed for word in words[2:] if word.startswith("--"))


def dry_run(target: str) -> str:
    """What make would do without ARGS, which are pytest's here; told how many processes, as it would ask torch."""
    command = ["make", "--dry-run", "PROCESSES=2", target]
    environment = {name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def test_make_targets_exist() -> None:
    made = {words[1] for words in commands("make") if "=" not in words[1] and words[1] != "&&"}
    assert {"demo", "test", "lint"} <= made
    for target in made:
        dry_run(target)


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony
    for target in phony.group(1).split():
        assert re.search(rf"^{target}\s+\S", listed, re.M), f"{target} has no line of what it does"


def torchrun_commands() -> list[list[str]]:
    """Those of the documents, of the comments in configurations and of `make train`."""
    comments = "".join(path.read_text() for path in (ROOT / "configs").glob("*.yaml")).replace("\\\n#", " ")
    lines = [line.removeprefix("#").strip() for line in comments.splitlines()]
    made = dry_run("train")
    lines += [line[line.index("torchrun ") :] for line in made.splitlines() if "torchrun " in line]
    return commands("torchrun") + [shlex.split(line) for line in lines if line.startswith("torchrun ")]


def test_training_commands_are_accepted() -> None:
    """Also by torchrun, whose parser takes `--run` for one of its own options on Python 3.11."""
    started = [words for words in torchrun_commands() if "launch.train" in words]
    assert len(started) >= 4
    for words in started:
        assert "--run" not in words
        parse_config(get_args_parser().parse_args(words[1:]).training_script_args)
    for words in commands("n2n"):
        if words[1] == "train" and "--config" in words:
            parse_config(words[2:])


def test_options_named_in_prose_exist() -> None:
    known = flatten(to_dict(parse_config(["--run=r", "--data.train=d"])))
    sections = {name.split(".")[0] for name in known if "." in name}
    for document in DOCUMENTS:
        for name in re.findall(r"`(?:--)?([a-z_]+\.[a-z0-9_]+)(?:[= ][^`]*)?`", text_of(document)):
            if name.split(".")[0] in sections and not name.endswith((".py", ".yaml")):
                assert name in known, f"{document} names {name}"


def test_files_named_exist() -> None:
    readme = text_of("README.md")
    for name in re.findall(r"\]\(([\w./-]+)\)", readme):
        assert (ROOT / name).exists(), name
    tree = readme.split("## The tree")[1]
    package = ""
    for line in tree.splitlines():
        head = re.match(r"    (\w+)/", line)
        package = head.group(1) if head else package
        for name in re.findall(r"\b(\w+\.py)\b", line):
            assert list((ROOT / package).rglob(name)), f"{package}/{name}"


def test_every_file_is_on_the_map() -> None:
    tree = text_of("README.md").split("## The tree")[1]
    for package in ("pipeline", "model", "launch"):
        for path in (ROOT / package).rglob("*.py"):
            assert path.name in tree or path.name in ("__init__.py", "errors.py", "atomic.py"), path


def test_the_table_of_corruptions_is_the_registry() -> None:
    """One row a corruption: its test strengths, which statistic is clean, and the loss that auto takes."""
    words = {"l2": "L2", "masked_l2": "masked L2", "l1": "L1", "l0": "annealed L0"}
    rows = [row.strip("|").split("|") for row in re.findall(r"^\| `\w+` \|.*$", text_of("README.md"), re.M)]
    assert [row[0].strip(" `") for row in rows] == list(LAWS)
    for name, _, tested, statistics, loss in rows:
        config = CorruptionConfig(name=name.strip(" `"))  # type: ignore[arg-type]
        strengths = [option.test for option in config.law.options.values() if option.test is not None]
        assert [float(number) for number in tested.split(",") if number.strip() != "-"] == strengths
        assert [word.split()[0] for word in statistics.split(",")] == [s.split()[-1] for s in config.law.statistics]
        assert loss.strip().startswith(words[choose_loss(LossConfig(), config, "noisy")])
