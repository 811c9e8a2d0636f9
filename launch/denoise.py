"""Verb: denoise files of pictures, of any size. No noise is added; what comes out has the format of what went in."""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from launch.asked_files import asked_files
from launch.denoise_frames import Summary, denoise_frames
from launch.denoise_stills import Done, denoise_file
from launch.denoiser import Denoiser, Inference
from launch.frame_denoiser import FrameDenoiser
from launch.journal import Journal
from launch.shipped import PREFIX, WEIGHTS_HELP
from launch.trained import WHAT, trained_on
from launch.world import World, run_in_world
from model.tiling import TILE
from pipeline.errors import DISK_ERRORS, EXIT_BAD_INPUT, BadInput, disk_error, run_verb
from pipeline.exr.buffers import Patterns
from pipeline.panel import save_png, side_by_side
from pipeline.stills.kinds import open_stills

PIPE = "-"


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
    parser.add_argument("--self-ensemble", action="store_true", help="the mean over 8 flips and turns; 8 times slower")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--tile", type=int, default=TILE, help=f"pixels a side of tiles (default: {TILE})")
    parser.add_argument("--tile-batch", type=int, default=1, help="tiles computed together (default: 1)")
    parser.add_argument("--white", type=float, help="sample value of white (default: 255, 65535, or 1.0 of floats)")
    parser.add_argument("--compare", type=Path, help="folder for pictures: noisy and denoised side by side")
    parser.add_argument("--again", action="store_true", help="denoise also what an earlier run has finished")
    parser.add_argument("--exposure", type=float, help="EXR: factor before the network (default: from the frames)")
    parser.add_argument("--channels", action="append", default=[], help="EXR: as for n2n shard, such as color=C.[rgb]")
    options = parser.parse_args(given)
    options.out = options.out or (PIPE if options.pictures == [PIPE] else "denoised")
    if options.white is not None and not options.white > 0:
        raise BadInput("an option is not positive", "the command line", f"--white {options.white:g}", "above 0")
    if (options.out == PIPE) != (options.pictures == [PIPE]):
        raise BadInput("half a pipe", "the command line", "stdin or stdout alone", "`n2n denoise RUN - --out -`")
    return options


def frames_denoised(options: argparse.Namespace) -> Summary:
    """EXR frames by a denoiser of renders."""
    if options.exposure is not None and not options.exposure > 0:
        raise BadInput("an exposure that is no factor", "the command line", str(options.exposure), "more than 0")
    channels = Patterns.parse(options.channels)
    files, out = [Path(file) for file in options.pictures], Path(options.out)
    return denoise_frames(FrameDenoiser.load(options.run), files, out, channels, options.exposure)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    if trained_on(options.run) == "renders":
        print(frames_denoised(options))
        return
    if options.exposure is not None or options.channels:
        raise BadInput("an option for EXR frames", "the command line", f"a run on pictures, {options.run}")
    if options.out == PIPE:
        denoise_pipe(options)
        return
    failed: list[int] = []
    run_in_world(lambda world: failed.append(denoise_all(options, world)))
    if failed[0]:
        sys.exit(EXIT_BAD_INPUT)


def load(options: argparse.Namespace, world: World | None = None) -> Denoiser:
    inference = Inference(
        tile=options.tile,
        batch=options.tile_batch,
        bfloat16=options.bfloat16,
        self_ensemble=options.self_ensemble,
    )
    return Denoiser.load(options.run, world.device if world else None, inference)


def denoise_all(options: argparse.Namespace, world: World) -> int:
    """Denoise this rank's share of the files. Returns how many failed, on any rank; every failure is told."""
    asked = asked_files(options.pictures, Path(options.out))
    denoiser = load(options, world)
    journal = Journal(Path(options.out), recipe(denoiser, options))
    mine = list(asked.targets.items())[world.rank :: world.size]
    finished = [pair for pair in mine if not options.again and journal.holds(*pair)]
    failed = 0
    for source, target in tqdm(mine, "denoise", unit="file", disable=None if world.first else True):
        if (source, target) in finished:
            continue
        try:
            done = denoise_one(denoiser, source, target, options, show=world.first)
            journal.add(source, target)
            if done.filled:
                say(f"note: {source}: {done.filled:,} samples were NaN or infinite and are filled from beside them")
        except BadInput as error:
            say(f"error: {error}")
            failed += 1
    counts = world.gather((len(mine) - len(finished) - failed, len(finished), failed))
    new, old, failures = (sum(count) for count in zip(*counts, strict=True))
    if world.first:
        words = [f"{new} denoised, in {options.out}"]
        words += [f"{old} were finished before"] if old else []
        words += [f"{failures} failed"] if failures else []
        words += [f"{asked.passed_over} other files passed over"] if asked.passed_over else []
        print("; ".join(words))
    return failures


def denoise_one(
    denoiser: Denoiser, source: Path, target: Path, options: argparse.Namespace, show: bool = False
) -> Done:
    """Denoise a file. Raises BadInput for all that is the matter with it or with where it goes."""
    try:
        done = denoise_file(denoiser, source, target, options.white, show)
        if options.compare:
            views = [("noisy", done.noisy), ("denoised", done.denoised)]
            place = options.compare / target.relative_to(options.out)
            save_png(side_by_side(views), place.with_name(place.name + ".png"))
    except MemoryError as error:
        raise BadInput("a picture too large for the memory", source, str(error), "less", "cut it first") from error
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise BadInput("the file cannot be written", target, error.strerror or str(error)) from error
        raise disk_error(error, error.filename or target) from error
    return done


def recipe(denoiser: Denoiser, options: argparse.Namespace) -> str:
    """Everything that decides what a file becomes."""
    weights = {name: float(tensor.double().sum()) for name, tensor in denoiser.net.state_dict().items()}
    inference = asdict(denoiser.inference) | {"tile": 0, "batch": 0}  # neither changes results
    return json.dumps([weights, inference, options.white])


def say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)


def denoise_pipe(options: argparse.Namespace) -> None:
    """One file from stdin to stdout, of the kind that it is."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "stdin"
        with open(source, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        target = Path(folder) / f"stdout{suffix_of(source)}"
        denoise_file(load(options), source, target, options.white)
        with open(target, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)


def suffix_of(path: Path) -> str:
    """The suffix of a file's kind, by its content."""
    stills = open_stills(path)
    return str(stills.about.get("suffix") or stills.kind.suffixes[0])


if __name__ == "__main__":
    run_verb(main)
