"""Verb: measure denoisers on clean pictures under test noise, by the published protocol.

Full pictures, noise unclipped and keyed by the picture's name, output rounded to 8 bits, the mean of per-picture
decibels (reference: the evaluation published with Lehtinen et al. 2018).
"""

import argparse
import logging
from pathlib import Path

from launch.denoiser import Denoiser, Inference
from launch.evaluation.asked_noise import add_noise_options, asked_corruptions, noise_label
from launch.evaluation.baselines import BASELINES, baseline
from launch.evaluation.page import Shown, save_evaluation_page, shown, worst_and_best
from launch.evaluation.render_baselines import RENDER_BASELINES, render_baseline
from launch.evaluation.render_scores import Denoise as DenoiseRender
from launch.evaluation.renders import evaluate_renders
from launch.evaluation.scoreboard import PICTURES, save_csv, save_json, table
from launch.evaluation.scores import Denoise, Evaluation, Score, captioned, measure, share_out
from launch.evaluation.shot_scores import evaluate_shots
from launch.frame_denoiser import FrameDenoiser
from launch.shipped import PREFIX, WEIGHTS_HELP, located
from launch.trained import EXPORTED, WHAT, trained_on
from launch.world import World, run_in_world
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput, run_verb
from pipeline.foreign import indexed
from pipeline.gallery import Gallery
from pipeline.index import INDEX, load_index
from pipeline.panel import save_png, side_by_side
from pipeline.sources.roots import labels

ALL_BASELINES = {*BASELINES, *RENDER_BASELINES}

Round = tuple[CorruptionConfig, dict[str, Denoise]]
"""A noise, and the denoisers by name that are measured under it."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="n2n evaluate", description="Measure denoisers on clean pictures.")
    parser.add_argument("run", nargs="*", help=f"{WHAT}; several are measured side by side")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME", help=WEIGHTS_HELP)
    pictures = parser.add_mutually_exclusive_group(required=True)
    pictures.add_argument("--images", type=Path, help="folder of clean pictures, or a shard set")
    pictures.add_argument("--data", type=Path, help="shard set, of pictures or of real noisy shots")
    add_noise_options(parser)
    parser.add_argument(
        "--baseline", action="append", default=[], choices=sorted(ALL_BASELINES), help="denoiser to compare with"
    )
    parser.add_argument(
        "--self-ensemble", action="store_true", help="runs as means over 8 flips and turns (renders: 4 flips), as NAME+"
    )
    parser.add_argument("--limit", type=int, default=0, help="only the first pictures (default: all)")
    parser.add_argument("--json", type=Path, help="file for the scores")
    parser.add_argument("--csv", type=Path, help="file for the scores, a line a picture")
    parser.add_argument("--pictures", type=Path, help="folder for pictures: noisy, denoised and clean side by side")
    parser.add_argument("--html", type=Path, help="file for a page with the scores and pictures to look into")
    parser.add_argument(
        "--html-pictures", type=int, default=12, help="pictures of each noise on the page (default: 12)"
    )
    options = parser.parse_args(arguments)
    options.run += [PREFIX + name for name in options.weights]
    for name in ("limit", "html_pictures"):
        if getattr(options, name) < 0:
            got = f"--{name.replace('_', '-')} {getattr(options, name)}"
            raise BadInput("an option is negative", "the command line", got, "at least 0")
    if not options.run and not options.baseline:
        raise BadInput("nothing to measure", "the command line", "no run and no --baseline", "at least one of them")
    if options.self_ensemble and not options.run:
        raise BadInput("a self-ensemble of nothing", "the command line", "--self-ensemble without a run", "a run")
    if options.data:
        options.data = indexed(options.data)
    if options.data and not (options.data / INDEX).exists():
        raise BadInput("not a finished shard set", options.data, f"no {INDEX}", "a set written by `n2n shard`")
    return options


def score_renders(options: argparse.Namespace, world: World) -> None:
    asked = [name for name in ("images", "corruption") if getattr(options, name)]
    if asked:
        got = ", ".join(f"--{name}" for name in asked)
        wanted = "frames with references: a set of `n2n shard --renders` as --data"
        raise BadInput("not with renders", "the command line", got, wanted)
    paths, inference = [located(run) for run in options.run], Inference(self_ensemble=options.self_ensemble)
    denoisers: dict[str, DenoiseRender] = {
        label: FrameDenoiser.load(path, world.device, inference)
        for label, path in zip(run_labels(paths, inference), paths, strict=True)
    }
    denoisers |= {name: render_baseline(name) for name in dict.fromkeys(options.baseline)}
    evaluate_renders(denoisers, options, world)


def main(arguments: list[str] | None = None) -> None:
    run_in_world(lambda world: evaluate_all(parse(arguments), world))


def evaluate_all(options: argparse.Namespace, world: World) -> None:
    logging.basicConfig(level=logging.WARNING if world.first else logging.ERROR, format="%(message)s", force=True)
    if on_renders(options):
        score_renders(options, world)
        return
    if options.data and load_index(options.data).members_sha256:
        evaluate_shots(options, world)
        return
    rounds = load_rounds(options, world)
    gallery = Gallery(options.data or options.images, options.limit)
    evaluations: list[Evaluation] = []
    pictures: list[Shown] = []
    for corruption, denoisers in rounds:
        noise = noise_label(corruption)
        folder = options.pictures
        if folder and len(rounds) > 1:
            folder = folder / noise.replace(" ", "_")
        rows = measure_gallery(denoisers, gallery, corruption, folder, world)
        evaluations += [Evaluation(label, noise, [row[label] for row in rows]) for label in denoisers]
        if options.html:
            first = next(iter(denoisers))
            chosen = worst_and_best([row[first] for row in rows], options.html_pictures, PICTURES)
            pictures += show_pictures(denoisers, gallery, corruption, chosen, world)
    if world.first:
        give_out(evaluations, pictures, options)


def on_renders(options: argparse.Namespace) -> bool:
    """Whether renders are measured: by what a run was trained on, or by what the set holds."""
    if any(trained_on(run) == "renders" for run in options.run):
        return True
    return bool(options.data) and load_index(options.data).options.get("kind") == "renders"


def load_rounds(options: argparse.Namespace, world: World) -> list[Round]:
    """Each noise with its denoisers: all of them under what was asked for, or each under the noise of its training."""
    misplaced = sorted(set(options.baseline) & set(RENDER_BASELINES))
    if misplaced:
        raise BadInput("a baseline for renders", f"--baseline {misplaced[0]}", wanted="a set of renders as --data")
    paths, inference = [located(run) for run in options.run], Inference(self_ensemble=options.self_ensemble)
    loaded = {
        label: Denoiser.load(path, world.device, inference)
        for label, path in zip(run_labels(paths, inference), paths, strict=True)
    }
    own = list(dict.fromkeys(denoiser.corruption for denoiser in loaded.values())) or ["gaussian"]
    if "none" in own and not options.corruption:
        todo = "name a --corruption, or --data with a set of real shots"
        raise BadInput("no noise to test with", "the command line", "a run on real shots", "a corruption", todo)
    rounds: list[Round] = []
    for corruption in asked_corruptions(options, options.corruption or own):
        denoisers: dict[str, Denoise] = {
            label: denoiser
            for label, denoiser in loaded.items()
            if options.corruption or denoiser.corruption == corruption.name
        }
        denoisers |= {name: baseline(name, corruption) for name in dict.fromkeys(options.baseline)}
        rounds.append((corruption, denoisers))
    return rounds


def run_labels(paths: list[Path], inference: Inference) -> list[str]:
    """What each is called: its name, or as much of its path as tells it from the others; of self-ensembles with a plus.

    The plus is the field's (Lim et al. 2017: EDSR+).
    """
    repeated = {path for path in paths if paths.count(path) > 1}
    if repeated:
        raise BadInput("a denoiser is given twice", ", ".join(map(str, repeated)), wanted="every one once")
    found = labels([*paths]) if len(paths) > 1 else [path.resolve().name for path in paths]
    short = [label.removesuffix(EXPORTED) for label in found]
    names = short if len(set(short)) == len(short) else found
    return [f"{name}+" for name in names] if inference.self_ensemble else names


def measure_gallery(
    denoisers: dict[str, Denoise], gallery: Gallery, corruption: CorruptionConfig, folder: Path | None, world: World
) -> list[dict[str, Score]]:
    """The scores of every picture, by denoiser; the pictures themselves side by side where there is a folder."""

    def work(name: str) -> dict[str, Score]:
        scores, views = measure(denoisers, gallery, name, corruption)
        if folder:
            save_png(side_by_side(captioned(views)), (folder / name).with_suffix(".png"))
        return scores

    return share_out(gallery.names, work, world)


def show_pictures(
    denoisers: dict[str, Denoise], gallery: Gallery, corruption: CorruptionConfig, names: list[str], world: World
) -> list[Shown]:
    """The views of some pictures, made anew: which they are is known only when all have been measured."""

    def work(name: str) -> Shown:
        return shown(name, noise_label(corruption), measure(denoisers, gallery, name, corruption)[1])

    return share_out(names, work, world)


def give_out(evaluations: list[Evaluation], pictures: list[Shown], options: argparse.Namespace) -> None:
    print(table(evaluations))
    if options.json:
        save_json(evaluations, (options.data or options.images).resolve().name, options.json)
    if options.csv:
        save_csv(evaluations, options.csv)
    if options.html:
        save_evaluation_page(evaluations, pictures, str(options.data or options.images), options.html, PICTURES)
        print(f"page: {options.html}")
    if options.pictures:
        print(f"side by side: {options.pictures}")


if __name__ == "__main__":
    run_verb(main)
