"""Verb: the curves of runs over each other: loss, PSNR, images a second and the wait for data, as a picture."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from launch.run_dir import existing_run
from pipeline.atomic import write_whole
from pipeline.errors import BadInput, run_verb

# A panel each: title, the names of its number (the first that a run has), and whether its axis is logarithmic.
PANELS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("training loss", ("train/loss",), True),
    (
        "validation PSNR, dB",
        ("val/psnr_srgb8_db", "val/psnr_tonemapped_db", "val/unbiased_psnr_db", "val/noisy_target_psnr_db"),
        False,
    ),
    ("images a second", ("time/images_per_s",), False),
    ("share of time waiting for data", ("time/data_wait_share",), False),
)

Curve = tuple[list[int], list[float]]


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; a last one cut short by a crash is left out. Raises BadInput for none."""
    path = existing_run(run).metrics
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise BadInput("no metrics to plot", path, error.strerror or str(error), "a run that has begun") from error
    try:
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    except ValueError as error:
        raise BadInput("the metrics are damaged", path, str(error), "one JSON object a line") from error


def curve(lines: list[dict[str, Any]], names: tuple[str, ...]) -> Curve:
    """Images and values of the first of these numbers that there is; empty where there is none."""
    for name in names:
        points = [(line["images"], line[name]) for line in lines if name in line]
        if points:
            return [images for images, _ in points], [value for _, value in points]
    return [], []


def seconds_of_training(lines: list[dict[str, Any]], images: list[int]) -> list[float]:
    """How long the steps up to these clock readings took, without validations and the time between restarts.

    Of intervals that a resumed run did again, the last one counts.
    """
    rates = dict(zip(*curve(lines, ("time/images_per_s",)), strict=True))
    ends = sorted(rates)
    seconds = np.cumsum([(end - start) / rates[end] for start, end in zip([0, *ends], ends, strict=False)])
    return [float(value) for value in np.interp(images, [0, *ends], [0.0, *seconds])]


def draw(runs: dict[str, list[dict[str, Any]]], out: Path, against: str = "images") -> None:
    """Write a picture of four panels, a line a run, over images or seconds.

    Raises BadInput without matplotlib or for an unknown format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        todo = "pip install -e '.[plot]'"
        raise BadInput("plots need matplotlib", "n2n plot", "it is not installed", todo=todo) from error
    figure = Figure(figsize=(12, 8), layout="constrained")
    if out.suffix.lstrip(".").lower() not in figure.canvas.get_supported_filetypes():
        raise BadInput("a picture of an unknown kind", out, out.suffix or "no suffix", "such as .png, .svg or .pdf")
    for (title, names, logarithmic), axes in zip(PANELS, figure.subplots(2, 2).flat, strict=True):
        for label, lines in runs.items():
            images, values = curve(lines, names)
            clock = seconds_of_training(lines, images) if against == "seconds" else images
            axes.plot(clock, values, label=label, marker="." if len(images) < 30 else None, linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel("images" if against == "images" else "seconds of training")
        axes.grid(alpha=0.3)
        if logarithmic and any(curve(lines, names)[0] for lines in runs.values()):
            axes.set_yscale("log")
    figure.axes[0].legend()
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(out) as file:
        figure.savefig(file, dpi=110, format=out.suffix.lstrip("."))


def labels(runs: list[Path]) -> list[str]:
    """The folders' names, or as much of their paths as tells them apart."""
    for parts in range(1, 1 + max(len(run.resolve().parts) for run in runs)):
        names = ["/".join(run.resolve().parts[-parts:]) for run in runs]
        if len(set(names)) == len(runs):
            return names
    raise BadInput("a run is named twice", "the command line", ", ".join(map(str, runs)), "each once")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n plot", description="Draw the curves of runs over each other.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="PNG, SVG or PDF (default: curves.png)")
    parser.add_argument(
        "--against", choices=["images", "seconds"], default="images", help="what the axis counts (default: images)"
    )
    options = parser.parse_args(arguments)
    named = zip(labels(options.runs), options.runs, strict=True)
    draw({label: read_metrics(run) for label, run in named}, options.out, options.against)
    print(options.out)


if __name__ == "__main__":
    run_verb(main)
