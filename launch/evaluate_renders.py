"""The part of the verb `evaluate` that is for renders: scores against references of many samples per pixel."""

import json
import math
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from launch.frame_denoiser import FrameDenoiser
from launch.render_scores import RenderScore, frames_to_score, mean_score, score_frame
from launch.render_training import open_set
from pipeline.atomic import write_whole
from pipeline.panel import save_png, side_by_side


def evaluate_renders(
    run: str, data: Path, limit: int = 0, pictures: Path | None = None, out: Path | None = None
) -> list[RenderScore]:
    """Score a denoiser on the frames of a set that have references, print the table, and write what is asked for."""
    denoise = FrameDenoiser.load(run)
    frames = open_set(str(data))
    scores = []
    for sample in tqdm(frames_to_score(frames, limit), "evaluate", unit="frame", disable=None):
        score, views = score_frame(denoise, frames, sample)
        scores.append(score)
        if pictures:
            save_png(side_by_side(views), pictures / f"{score.name.replace('/', '_')}_{sample}.png")
    if out:
        save(scores, out)
    return scores


def table(scores: list[RenderScore]) -> str:
    """The scores as text, with their mean."""
    rows = [*((score.name, asdict(score)) for score in scores), ("mean", {"name": "", **mean_score(scores)})]
    width = max(len("frame"), *(len(name) for name, _ in rows))
    lines = [f"{'frame':{width}}  noisy dB  denoised dB  relative MSE   SMAPE  energy %   (dB: tone-mapped)"]
    for name, row in rows:
        lines.append(
            f"{name:{width}}  {row['psnr_noisy_tonemapped_db']:8.2f}  {row['psnr_tonemapped_db']:11.2f}"
            f"  {row['relative_mse']:12.5f}  {row['smape']:6.4f}  {row['energy_bias_percent']:+8.2f}"
        )
    return "\n".join(lines)


def save(scores: list[RenderScore], path: Path) -> None:
    """JSON knows neither infinity, which equal pictures have, nor the bias of a black frame."""
    rows = [asdict(score) for score in scores]
    plain = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in [mean_score(scores), *rows]
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        file.write(json.dumps({"mean": plain[0], "images": plain[1:]}, indent=1).encode() + b"\n")
