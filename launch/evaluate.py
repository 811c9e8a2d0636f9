"""Verb: PSNR and SSIM of a denoiser on clean pictures under test noise, by the published protocol.

Full pictures, noise unclipped and keyed by the picture's name, output rounded to 8 bits, the mean of per-picture
decibels (reference: the evaluation published with Lehtinen et al. 2018).
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor
from tqdm import tqdm

from launch.denoiser import Denoiser, trained_on
from launch.evaluate_renders import evaluate_renders
from launch.evaluate_renders import table as render_table
from launch.unbiased import Scenes, scene_errors, scenes_table, summary
from launch.world import World
from model.fourier import consistent
from model.metrics import psnr_db, ssim, to_8_bit
from pipeline.atomic import write_whole
from pipeline.corruption import PUBLISHED_TEST, CorruptionConfig
from pipeline.errors import BadInput, run_verb
from pipeline.gallery import Gallery
from pipeline.panel import save_png, side_by_side

STRENGTHS = {
    "sigma_255": "gaussian, brown: standard deviation in 8-bit units",
    "bandwidth_px": "brown: standard deviation of the blur in pixels",
    "photons": "poisson: expected count at white",
    "electrons": "camera, camera_text: photo-electrons at white",
    "read_noise_e": "camera, camera_text: standard deviation of the read noise in electrons",
    "p": "bernoulli, impulse: share of lost pixels; text, camera_text: of pixels written over",
    "edge_p": "mri: share of the finest frequencies that are measured",
}


@dataclass(frozen=True)
class Score:
    """What a denoiser did to one picture."""

    name: str
    psnr_noisy_db: float
    psnr_db: float
    ssim_noisy: float
    ssim: float


def score_picture(
    denoise: Callable[[Tensor], Tensor], gallery: Gallery, name: str, corruption: CorruptionConfig
) -> tuple[Score, list[tuple[str, Tensor]]]:
    """One picture's score, and its noisy, denoised and clean views with their decibels as captions."""
    clean = gallery.clean(name)
    noisy, _, measured = gallery.noisy(name, clean, corruption)
    denoised = denoise(noisy)
    if measured is not None:  # as in training; a person with a noisy picture alone has none
        denoised = consistent(denoised, noisy, measured)
    clean_8, noisy_8, denoised_8 = to_8_bit(clean), to_8_bit(noisy), to_8_bit(denoised)
    score = Score(
        name=name,
        # The noisy input is measured as it is, unclipped: sigma 25 is 20.17 dB exactly.
        psnr_noisy_db=psnr_db(noisy * 255, clean * 255),
        psnr_db=psnr_db(denoised_8, clean_8),
        ssim_noisy=ssim(noisy_8, clean_8),
        ssim=ssim(denoised_8, clean_8),
    )
    captions = (f"noisy {score.psnr_noisy_db:.2f} dB", f"denoised {score.psnr_db:.2f} dB", "clean")
    return score, list(zip(captions, (noisy, denoised, clean), strict=True))


def evaluate(
    denoise: Callable[[Tensor], Tensor],
    gallery: Gallery,
    corruption: CorruptionConfig,
    world: World | None = None,
) -> list[Score]:
    """Score every picture once, shared out over the ranks; the same list on each, whatever their number."""
    rank, size = (world.rank, world.size) if world else (0, 1)
    names = gallery.names[rank::size]
    mine = [score_picture(denoise, gallery, name, corruption)[0] for name in names]
    dealt = world.gather(mine) if world else [mine]
    return [dealt[position % size][position // size] for position in range(len(gallery.names))]


def mean_of(scores: Iterable[Score]) -> dict[str, float]:
    """The mean of per-picture values: decibels are averaged, not errors."""
    rows = [asdict(score) for score in scores]
    return {name: fmean(row[name] for row in rows) for name in rows[0] if name != "name"}


def table(scores: list[Score]) -> str:
    """The scores as text, with their mean."""
    rows = [(score.name, asdict(score)) for score in scores] + [("mean", {"name": "", **mean_of(scores)})]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'picture':{width}}  noisy dB  denoised dB  noisy SSIM  denoised SSIM"]
    for name, row in rows:
        lines.append(
            f"{name:{width}}  {row['psnr_noisy_db']:8.2f}  {row['psnr_db']:11.2f}"
            f"  {row['ssim_noisy']:10.4f}  {row['ssim']:13.4f}"
        )
    return "\n".join(lines)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity, which equal pictures have."""
    return {name: None if value == math.inf else value for name, value in row.items()}


def save_scores(scores: list[Score], path: Path) -> None:
    document = {"mean": as_json(mean_of(scores)), "images": [as_json(asdict(score)) for score in scores]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")


def asked_corruption(options: argparse.Namespace) -> CorruptionConfig:
    """The corruption asked for, at the strengths asked for. Raises BadInput where it has none such."""
    asked = {name: getattr(options, name) for name in STRENGTHS if getattr(options, name) is not None}
    try:
        return replace(PUBLISHED_TEST[options.corruption], **asked)
    except ValueError as error:
        raise BadInput("the test noise cannot be had", "the command line", str(error)) from error


def evaluate_shots(denoiser: Denoiser, options: argparse.Namespace) -> None:
    """Print, and save where asked, the errors on real shots: the unbiased one, and the true one where it is known."""
    if options.corruption or options.pictures:
        raise BadInput("not with --data", "the command line", "--corruption or --pictures", "shots as they are")
    scenes = Scenes(options.data, options.limit)
    errors = scene_errors(denoiser, scenes)
    said = summary(errors, scenes.dependent)
    print(scenes_table(errors, said, scenes.dependent))
    if options.json:
        document = {"mean": said, "scenes": [asdict(error) for error in errors], "dependent": scenes.dependent}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(options.json) as file:
            file.write(json.dumps(document, indent=1).encode() + b"\n")


def score_renders(options: argparse.Namespace) -> None:
    if not options.data:
        raise BadInput("renders are scored on renders", "the command line", "--images", "--data SHARDS")
    print(render_table(evaluate_renders(options.run, options.data, options.limit, options.pictures, options.json)))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n evaluate", description="Measure a denoiser on clean pictures.")
    parser.add_argument("run", help="folder of a run, or a checkpoint")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path, help="set of real noisy shots: errors without a clean picture")
    what.add_argument("--images", type=Path, help="folder of clean pictures, or a shard set")
    parser.add_argument("--corruption", choices=sorted(PUBLISHED_TEST), help="test noise (default: the run's own)")
    for option, meaning in STRENGTHS.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=float, help=f"{meaning} (default: as published)")
    parser.add_argument("--limit", type=int, default=0, help="only the first pictures (default: all)")
    parser.add_argument("--json", type=Path, help="file for the scores")
    parser.add_argument("--pictures", type=Path, help="folder for pictures: noisy, denoised and clean side by side")
    options = parser.parse_args(arguments)
    if options.limit < 0:
        raise BadInput("an option is negative", "the command line", f"--limit {options.limit}", "at least 0")
    if trained_on(Path(options.run)) == "renders":
        score_renders(options)
        return
    denoiser = Denoiser.load(options.run)
    if options.data:
        evaluate_shots(denoiser, options)
        return
    options.corruption = options.corruption or denoiser.corruption
    if options.corruption == "none":
        todo = "name a --corruption, or --data with a set of real shots"
        raise BadInput("no noise to test with", "the command line", "a run on real shots", "a corruption", todo)
    corruption = asked_corruption(options)
    gallery = Gallery(options.images, options.limit)
    scores = []
    for name in tqdm(gallery.names, "evaluate", unit="picture", disable=None):
        score, views = score_picture(denoiser, gallery, name, corruption)
        scores.append(score)
        if options.pictures:
            save_png(side_by_side(views), (options.pictures / name).with_suffix(".png"))
    print(table(scores))
    if options.json:
        save_scores(scores, options.json)
    if options.pictures:
        print(f"side by side: {(options.pictures / scores[0].name).with_suffix('.png')}")


if __name__ == "__main__":
    run_verb(main)
