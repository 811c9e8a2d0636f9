"""Verb: the table of results, out of the runs and the scores that `make results` leaves."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from launch.evaluation.scoreboard import save_text
from launch.exporting.model_card import decibels_of
from launch.plot import read_metrics, seconds_of_training
from launch.run_dir import existing_run
from pipeline.errors import BadInput, run_verb


@dataclass(frozen=True)
class Result:
    """A run, what it cost, and its scores by the name of the test set."""

    name: str
    target: str
    images: int
    crop: int
    core_minutes: float | None
    """Seconds of its training times the threads of all its ranks; None on a GPU."""
    noise: str
    scores: dict[str, dict[str, Any]]

    def cells(self, tests: list[str]) -> list[str]:
        cost = "-" if self.core_minutes is None else f"{self.core_minutes:.0f}"
        trained = [f"`{self.name}`", self.noise, self.target, f"{self.images:,} of {self.crop} px", cost]
        return [*trained, *(decibels(self.scores.get(test)) for test in tests)]


def decibels(score: dict[str, Any] | None) -> str:
    """`20.17 -> 31.57`, or a dash."""
    if not score:
        return "-"
    noisy, denoised = decibels_of(score)
    return f"{noisy:.2f} -> **{denoised:.2f}**"


def table(results: list[Result]) -> str:
    """A line a run, a column a test set. Markdown."""
    tests = sorted({test for result in results for test in result.scores})
    head = ["recipe", "noise", "targets", "crops", "core minutes", *(f"{test}, dB" for test in tests)]
    rows = [head, ["---"] * len(head), *(result.cells(tests) for result in results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def read_results(folder: Path) -> list[Result]:
    """Every run that has scores, by name. Raises BadInput where there is none, or one is damaged."""
    names = sorted(path.name for path in (folder / "scores").glob("*") if any(path.glob("*.json")))
    if not names:
        raise BadInput("no results there", folder, "no scores/RUN/SET.json", "what `make results` leaves")
    return [read_result(folder / "runs" / name, folder / "scores" / name) for name in names]


def read_result(run: Path, scores: Path) -> Result:
    try:
        config = yaml.safe_load(existing_run(run).config.read_bytes())
        start = existing_run(run).starts()[-1]
        by_test = {path.stem: json.loads(path.read_bytes()) for path in sorted(scores.glob("*.json"))}
        return Result(
            name=run.name,
            target=config["pairs"]["target"],
            images=config["train"]["images"],
            crop=config["pairs"]["crop"],
            core_minutes=core_minutes(run, start["world"]),
            noise=next(iter(by_test.values())).get("noise", "-"),
            scores={test: {"mean": score["mean"]} for test, score in by_test.items()},
        )
    except (OSError, ValueError, KeyError, IndexError, yaml.YAMLError) as error:
        got = f"{type(error).__name__}: {error}"
        raise BadInput(
            "a damaged result", run, got, "a run and its scores", "remove both, and `make results`"
        ) from error


def core_minutes(run: Path, world: dict[str, Any]) -> float | None:
    """What the training cost, as if every start had had the ranks and threads of the last one."""
    if world["device"] != "cpu":
        return None
    lines = read_metrics(run)
    return seconds_of_training(lines, [lines[-1]["images"]])[0] * world["ranks"] * world["threads"] / 60


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n results", description="The table of what `make results` trained.")
    parser.add_argument("folder", type=Path, help="with runs/NAME and scores/NAME/SET.json")
    parser.add_argument("--out", type=Path, help="file for the table, Markdown (default: print it alone)")
    options = parser.parse_args(arguments)
    text = table(read_results(options.folder))
    if options.out:
        save_text(text, options.out)
    print(text, end="")


if __name__ == "__main__":
    run_verb(main)
