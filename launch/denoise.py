"""Verb: denoise files of pictures, of any size. No noise is added; what comes out has the format of what went in."""

import argparse
import json
import math
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from launch.denoiser import Denoiser, Inference
from launch.denoising.asked_files import Asked, asked_files
from launch.denoising.files import Job, Plan, Work, denoise_all, summary, told
from launch.denoising.frames import FramesWork, exposure_of, plan_frames
from launch.denoising.journal import Journal
from launch.denoising.stills import StillsWork
from launch.frame_denoiser import FrameDenoiser
from launch.shipped import PREFIX, WEIGHTS_HELP
from launch.trained import WHAT, trained_on
from launch.world import World, run_in_world
from model.network import Network
from model.tiling import TILE
from pipeline.errors import EXIT_BAD_INPUT, BadInput, run_verb
from pipeline.exr.buffers import Patterns
from pipeline.memory import keep_freed_memory
from pipeline.sources.render_names import SUFFIX
from pipeline.stills.kinds import STILL_SUFFIXES, open_stills

PIPE = "-"
KEPT_BYTES = 1 << 25  # of freed memory in one piece: to keep what a tile's layers took would nearly double the peak


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="n2n denoise", description="Denoise pictures.")
    given = sys.argv[1:] if arguments is None else arguments
    if not any(word.split("=")[0] == "--weights" for word in given):
        parser.add_argument("run", help=WHAT)
    parser.add_argument(
        "--weights", dest="run", type=PREFIX.__add__, metavar="NAME", help=f"{WEIGHTS_HELP}; then no run"
    )
    parser.add_argument(
        "pictures", nargs="+", help="pictures, folders of them, globs, frame_%%04d.png, shot.####.exr; - for stdin"
    )
    parser.add_argument("--out", help="folder for the denoised pictures (default: denoised); - for stdout")
    parser.add_argument(
        "--self-ensemble",
        action="store_true",
        help="the mean over 8 flips and turns; 8 times slower (EXR: over 4 flips, 4 times)",
    )
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--tile", type=int, default=TILE, help=f"pixels a side of tiles (default: {TILE})")
    parser.add_argument("--tile-batch", type=int, default=1, help="tiles computed together (default: 1)")
    parser.add_argument(
        "--white", type=float, help="not EXR: sample value of white (default: 255, 65535, or 1.0 of floats)"
    )
    parser.add_argument("--compare", type=Path, help="folder for pictures: noisy and denoised side by side")
    parser.add_argument("--again", action="store_true", help="denoise also what an earlier run has finished")
    parser.add_argument("--exposure", type=float, help="EXR: factor before the network (default: from the frames)")
    parser.add_argument("--channels", action="append", default=[], help="EXR: as for n2n shard, such as color=C.[rgb]")
    options = parser.parse_args(given)
    options.out = options.out or (PIPE if options.pictures == [PIPE] else "denoised")
    if (options.out == PIPE) != (options.pictures == [PIPE]):
        raise BadInput("half a pipe", "the command line", "stdin or stdout alone", "`n2n denoise RUN - --out -`")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    renders = trained_on(options.run) == "renders"
    refuse_unfit_options(options, renders)
    failed: list[int] = []
    task = denoise_pipe if options.out == PIPE else denoise_asked

    def run(world: World) -> None:
        keep_freed_memory(KEPT_BYTES)
        failed.append(task(options, renders, world))

    run_in_world(run)
    if failed[0]:
        sys.exit(EXIT_BAD_INPUT)


def refuse_unfit_options(options: argparse.Namespace, renders: bool) -> None:
    where = "the command line"
    if renders and options.white is not None:
        wanted = "none: radiance is linear and has no white; --exposure is its scale"
        raise BadInput("an option for pictures", where, f"--white, and a run on renders, {options.run}", wanted)
    if options.compare and options.out == PIPE:
        raise BadInput("nothing to compare in a pipe", where, f"--compare {options.compare}", "a folder as --out")
    if not renders and (options.exposure is not None or options.channels):
        raise BadInput("an option for EXR frames", where, f"a run on pictures, {options.run}")
    for name in ("white", "exposure"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise BadInput("an option is not positive", where, f"--{name} {value:g}", "above 0")


def denoise_asked(options: argparse.Namespace, renders: bool, world: World) -> int:
    """This rank's share of the files. Returns how many failed, on any rank."""
    out = Path(options.out)
    suffixes = {SUFFIX} if renders else STILL_SUFFIXES
    asked = asked_files(options.pictures, out, suffixes, options.compare)
    plan, work, journal = prepare(options, asked, out, renders, world)
    counts = denoise_all(plan, work, journal, world, again=options.again, compare=options.compare)
    if world.first:
        print(summary(counts, plan, out))
    return counts["failed"]


def denoise_pipe(options: argparse.Namespace, renders: bool, world: World) -> int:
    """One file from stdin to stdout, of the kind that it is. Returns 0, or raises BadInput."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / ("stdin" + SUFFIX)
        with open(source, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        target = Path(folder) / f"stdout{SUFFIX if renders else suffix_of(source)}"
        plan, work, _ = prepare(options, Asked({source: target}, 0), Path(folder), renders, world)
        (job,) = plan.jobs
        with told(job):
            work.denoise(job, work.load(job), False)()
        with open(target, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    return 0


def prepare(
    options: argparse.Namespace, asked: Asked, out: Path, renders: bool, world: World
) -> tuple[Plan, Work, Journal]:
    """What is to be done, how, and what of it has been done before."""
    inference = Inference(
        tile=options.tile,
        batch=options.tile_batch,
        bfloat16=options.bfloat16,
        self_ensemble=options.self_ensemble,
    )
    if not renders:
        denoiser = Denoiser.load(options.run, world.device, inference)
        journal = Journal(out, recipe(denoiser.net, inference, options.white))
        jobs = [Job((source,), target) for source, target in asked.targets.items()]
        asides = [f"{asked.passed_over} other files passed over"] if asked.passed_over else []
        return Plan(jobs, asides=asides), StillsWork(denoiser, options.white), journal
    channels = Patterns.parse(options.channels)
    plan, frames = plan_frames(asked)
    frame_denoiser = FrameDenoiser.load(options.run, world.device, inference)
    journal = Journal(out, recipe(frame_denoiser.net, inference, channels.given, options.exposure))
    exposure = options.exposure
    if exposure is None:
        exposure = world.from_first(
            exposure_of(plan, frames, journal, channels, options.again) if world.first else None
        )
    return plan, FramesWork(frame_denoiser, frames, channels, exposure), journal


def recipe(net: Network, inference: Inference, *others: object) -> str:
    """Everything that decides what a file becomes."""
    weights = {name: float(tensor.double().sum()) for name, tensor in net.state_dict().items()}
    kept = asdict(inference) | {"tile": 0, "batch": 0}  # neither changes results
    return json.dumps([weights, kept, *others])


def suffix_of(path: Path) -> str:
    """The suffix of a file's kind, by its content."""
    stills = open_stills(path)
    return str(stills.about.get("suffix") or stills.kind.suffixes[0])


if __name__ == "__main__":
    run_verb(main)
