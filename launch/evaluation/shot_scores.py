"""Errors on real noisy shots: the unbiased one, and the true one where a reference is known."""

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

from launch.denoiser import Denoiser, Inference
from launch.evaluation.scoreboard import save_csv
from launch.evaluation.scores import Evaluation
from launch.unbiased import Scenes, scene_errors, scenes_table, summary
from launch.world import World
from pipeline.atomic import write_whole
from pipeline.errors import BadInput


def evaluate_shots(options: argparse.Namespace, world: World) -> None:
    """Print, and save where asked, what a denoiser does to the shots of a set. Raises BadInput for what needs more."""
    asked = [name for name in ("corruption", "pictures", "html", "baseline") if getattr(options, name)]
    if asked or len(options.run) != 1:
        got = ", ".join(f"--{name}" for name in asked) or f"{len(options.run)} runs"
        raise BadInput("not with a set of real shots", "the command line", got, "one run, --limit, --json and --csv")
    scenes = Scenes(options.data, options.limit)
    inference = Inference(self_ensemble=options.self_ensemble)
    errors = scene_errors(Denoiser.load(options.run[0], world.device, inference), scenes, world)
    if not world.first:
        return
    said = summary(errors, scenes.dependent)
    print(scenes_table(errors, said, scenes.dependent))
    if options.csv:  # what dependent shots say of the error is no number to go on with
        known = [replace(error, unbiased_mse=math.nan) for error in errors] if scenes.dependent else errors
        save_csv([Evaluation(Path(options.run[0]).name, "of the shots", known)], options.csv)
    if options.json:
        document = {"mean": said, "scenes": [asdict(error) for error in errors], "dependent": scenes.dependent}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(options.json) as file:
            file.write(json.dumps(document, indent=1).encode() + b"\n")
