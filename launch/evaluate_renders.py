"""The part of the verb `evaluate` that is for renders: scores against references of many samples per pixel."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from launch.render_scores import Denoise, RenderScore, frames_to_score, interval_score, mean_score, score_frame
from launch.render_training import open_set
from launch.scores import share_out
from launch.world import World
from pipeline.atomic import write_whole
from pipeline.panel import save_png, side_by_side

Scores = dict[str, list[RenderScore]]
"""Of every denoiser by its name, a score a frame."""


def evaluate_renders(
    denoisers: Mapping[str, Denoise],
    data: Path,
    limit: int = 0,
    pictures: Path | None = None,
    out: Path | None = None,
    world: World | None = None,
) -> Scores:
    """Score denoisers on the frames of a set that have references, and write what is asked for.

    The frames are shared out over the ranks, and the scores are the same on each.
    """
    frames = open_set(data)

    def work(sample: int) -> dict[str, RenderScore]:
        found = {}
        for name, denoise in denoisers.items():
            found[name], views = score_frame(denoise, frames, sample)
            if pictures:
                folder = pictures / name if len(denoisers) > 1 else pictures
                save_png(side_by_side(views), folder / f"{found[name].name.replace('/', '_')}_{sample}.png")
        return found

    rows = share_out(frames_to_score(frames, limit), work, world)
    scores = {name: [row[name] for row in rows] for name in denoisers}
    if out and (world is None or world.first):
        save(scores, data.name, out)
    return scores


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
