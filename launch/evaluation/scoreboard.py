"""Scores as text for people, JSON and CSV for programs."""

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from launch.evaluation.scores import Evaluation, interval_of, mean_of
from pipeline.atomic import write_whole


@dataclass(frozen=True)
class Terms:
    """In what terms scores of one kind are shown to people."""

    columns: dict[str, tuple[str, int]]
    """Of each metric its heading and its decimals."""
    noisy_db: str
    denoised_db: str
    also: str
    """A third metric, of which the page tells the mean in large type."""
    each: str
    """What one score is of."""
    explained: str
    """What the numbers mean."""


PICTURES = Terms(
    columns={
        "psnr_noisy_srgb_db": ("noisy dB", 2),
        "psnr_srgb8_db": ("denoised dB", 2),
        "ssim_noisy_srgb8": ("noisy SSIM", 4),
        "ssim_srgb8": ("denoised SSIM", 4),
        "msssim_srgb8": ("MS-SSIM", 4),
    },
    noisy_db="psnr_noisy_srgb_db",
    denoised_db="psnr_srgb8_db",
    also="ssim_srgb8",
    each="picture",
    explained="PSNR, SSIM and MS-SSIM of encoded pictures rounded to 8 bits; the noisy dB of the noisy picture as it "
    "is, unclipped.",
)


def table(evaluations: list[Evaluation]) -> str:
    """One evaluation picture by picture; of several a line each. Means, and half of their 95 % interval."""
    if len(evaluations) == 1:
        scores = evaluations[0].scores
        rows = [[score.name, *numbers(asdict(score))] for score in scores]
        rows += [["mean", *numbers(mean_of(scores))], ["95 % +-", *numbers(interval_of(scores))]]
        return aligned([["picture", *(heading for heading, _ in PICTURES.columns.values())], *rows], texts=1)
    rows = [["denoiser", "noise", *(heading for heading, _ in PICTURES.columns.values()), "95 % +- dB"]]
    for evaluation in evaluations:
        interval = interval_of(evaluation.scores).get("psnr_srgb8_db")
        spread = "-" if interval is None else f"{interval:.2f}"
        rows.append([evaluation.denoiser, evaluation.noise, *numbers(mean_of(evaluation.scores)), spread])
    return aligned(rows, texts=2)


def numbers(values: dict[str, Any]) -> list[str]:
    cells = ((values.get(metric), decimals) for metric, (_, decimals) in PICTURES.columns.items())
    return ["-" if value is None else f"{value:.{decimals}f}" for value, decimals in cells]


def aligned(rows: list[list[str]], texts: int) -> str:
    """Columns of equal width, the first `texts` to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if n < texts else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def document(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "denoiser": evaluation.denoiser,
        "noise": evaluation.noise,
        "mean": without_infinity(mean_of(evaluation.scores)),
        "ci95": interval_of(evaluation.scores),
        "images": [without_infinity(asdict(score)) for score in evaluation.scores],
    }


def without_infinity(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity, which equal pictures have."""
    return {name: None if value == math.inf else value for name, value in row.items()}


def save_json(evaluations: list[Evaluation], pictures: str, path: Path) -> None:
    """One evaluation as an object; several as a list of such objects under `evaluations`. `pictures` names the set."""
    documents = [{"pictures": pictures, **document(evaluation)} for evaluation in evaluations]
    content = documents[0] if len(documents) == 1 else {"evaluations": documents}
    save_text(json.dumps(content, indent=1) + "\n", path)


def save_csv(evaluations: list[Evaluation], path: Path) -> None:
    """A line a picture, denoiser and noise, with no lines of means among them; empty where a number is not known."""
    metrics = [field.name for field in fields(evaluations[0].scores[0]) if field.name != "name"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["denoiser", "noise", "name", *metrics])
    for evaluation in evaluations:
        for score in evaluation.scores:
            row = asdict(score)
            known = (None if row[metric] is None or math.isnan(row[metric]) else row[metric] for metric in metrics)
            writer.writerow([evaluation.denoiser, evaluation.noise, score.name, *known])
    save_text(file.getvalue(), path)


def save_text(content: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        file.write(content.encode())
