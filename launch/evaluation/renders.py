"""The part of the verb `evaluate` that is for renders: scores against references of many samples per pixel."""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from launch.evaluation.page import Shown, save_evaluation_page, shown, worst_and_best
from launch.evaluation.render_scores import (
    Denoise,
    RenderScore,
    frames_to_score,
    interval_score,
    mean_score,
    measure_frame,
)
from launch.evaluation.scoreboard import Terms, save_csv
from launch.evaluation.scores import Evaluation, captioned, share_out
from launch.render_training import open_set
from launch.world import World
from pipeline.atomic import write_whole
from pipeline.panel import save_png, side_by_side

Scores = dict[str, list[RenderScore]]
"""Of every denoiser by its name, a score a frame."""

NOISE = "rendered"  # where a table of pictures has the noise that was drawn
FRAMES = Terms(
    columns={
        "psnr_noisy_tonemapped_db": ("noisy dB", 2),
        "psnr_tonemapped_db": ("denoised dB", 2),
        "relative_mse": ("relative MSE", 5),
        "smape": ("SMAPE", 4),
        "energy_bias_percent": ("energy %", 2),
    },
    noisy_db="psnr_noisy_tonemapped_db",
    denoised_db="psnr_tonemapped_db",
    also="energy_bias_percent",
    each="frame",
    explained="Of each frame's first realisation against its reference: PSNR after the tone map "
    "(v / (1 + v))^(1 / 2.2), as the frames are shown here; of linear radiance relative MSE, SMAPE and by how much the "
    "sum of light is off.",
)


def evaluate_renders(denoisers: Mapping[str, Denoise], options: argparse.Namespace, world: World) -> None:
    """Score denoisers on the frames of a set that have references; print the scores, and write what is asked for.

    The frames are shared out over the ranks; rank 0 tells and writes.
    """
    frames = open_set(options.data)
    samples = frames_to_score(frames, options.limit)

    def work(sample: int) -> dict[str, RenderScore]:
        scores, views = measure_frame(denoisers, frames, sample)
        if options.pictures:
            name = next(iter(scores.values())).name.replace("/", "_")
            save_png(side_by_side(captioned(views)), options.pictures / f"{name}_{sample}.png")
        return scores

    rows = share_out(samples, work, world)
    scores = {name: [row[name] for row in rows] for name in denoisers}
    pictures: list[Shown] = []
    if options.html:
        first = next(iter(scores.values()))
        names = worst_and_best(first, options.html_pictures, FRAMES)
        chosen = [(name, samples[[score.name for score in first].index(name)]) for name in names]
        # Made anew: which they are is known only when all have been measured.
        pictures = share_out(chosen, lambda it: shown(it[0], NOISE, measure_frame(denoisers, frames, it[1])[1]), world)
    if world.first:
        give_out(scores, pictures, options)


def give_out(scores: Scores, pictures: list[Shown], options: argparse.Namespace) -> None:
    print(table(scores))
    evaluations = [Evaluation(name, NOISE, several) for name, several in scores.items()]
    if options.json:
        save(scores, options.data.name, options.json)
    if options.csv:
        save_csv(evaluations, options.csv)
    if options.html:
        save_evaluation_page(evaluations, pictures, str(options.data), options.html, FRAMES)
        print(f"page: {options.html}")
    if options.pictures:
        print(f"side by side: {options.pictures}")


def table(scores: Scores) -> str:
    """A line a frame and denoiser, frame by frame; the means, and half of their 95 % interval."""
    wide = max(len("denoiser"), *map(len, scores))
    rows = [
        (name, one) for several in zip(*scores.values(), strict=True) for name, one in zip(scores, several, strict=True)
    ]
    lines = [(score.name, name, asdict(score)) for name, score in rows]
    for name, several in scores.items():
        lines += [("mean", name, mean_score(several)), ("95 % +-", name, interval_score(several))]
    width = max(len("frame"), *(len(frame) for frame, _, _ in lines))
    head = f"{'frame':{width}}  {'denoiser':{wide}}  noisy dB  denoised dB  relative MSE   SMAPE  energy %"
    return "\n".join(
        [f"{head}   (dB: tone-mapped)", *(line(frame, name, row, width, wide) for frame, name, row in lines)]
    )


def line(frame: str, name: str, row: Mapping[str, Any], width: int, wide: int) -> str:
    return (
        f"{frame:{width}}  {name:{wide}}  {row['psnr_noisy_tonemapped_db']:8.2f}  {row['psnr_tonemapped_db']:11.2f}"
        f"  {row['relative_mse']:12.5f}  {row['smape']:6.4f}  {row['energy_bias_percent']:+8.2f}"
    )


def save(scores: Scores, pictures: str, path: Path) -> None:
    """The name of the frames, the first denoiser's mean and frames, and those of all by name."""
    by_name = {name: document(several) for name, several in scores.items()}
    name, first = next(iter(by_name.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        file.write(
            json.dumps({"pictures": pictures, "denoiser": name, **first, "denoisers": by_name}, indent=1).encode()
            + b"\n"
        )


def document(scores: list[RenderScore]) -> dict[str, Any]:
    """JSON knows neither infinity, which equal pictures have, nor the bias of a black frame."""
    rows = [mean_score(scores), interval_score(scores), *(asdict(score) for score in scores)]
    plain = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in rows
    ]
    return {"mean": plain[0], "ci95": plain[1], "images": plain[2:]}
