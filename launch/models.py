"""Verb: list the weights that come with the project."""

import argparse
from typing import Any

from launch.evaluation.scoreboard import aligned
from launch.shipped import Shipped, located, shipped
from pipeline.errors import run_verb

HEADINGS = ["name", "network", "trained on", "crops", "tested on", "noisy dB", "denoised dB", "size", "licence"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n models", description="List the weights that come with the project.")
    parser.add_argument("--verify", action="store_true", help="also compare every file with its SHA-256")
    options = parser.parse_args(arguments)
    known = shipped()
    if options.verify:
        for name in known:
            located(f"weights:{name}")
    rows = [row for model in known.values() for row in rows_of(model)]
    print(aligned([HEADINGS, *rows], texts=3))


def rows_of(model: Shipped) -> list[list[str]]:
    """A line an evaluation, or one of weights that nobody has evaluated."""
    about = [model.name, model.network, model.noise, f"{model.images:,}"]
    size = f"{model.bytes / 1e6:.1f} MB"
    return [[*about, *cells(entry), size, model.licence] for entry in model.results or [{}]]


def cells(entry: dict[str, Any]) -> list[str]:
    if not entry:
        return ["-"] * 3
    tested = f"{entry['pictures']} ({entry['count']}), {entry['noise']}"
    return [tested, f"{entry['noisy_db']:.2f}", f"{entry['denoised_db']:.2f}"]


if __name__ == "__main__":
    run_verb(main)
