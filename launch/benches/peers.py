"""Verb: how fast the loader is here beside those of other libraries, as ratios in one run."""

import argparse
import importlib.util
import json
import os
import signal
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.benches.peer_rows import KEEP_BYTES, TITLES, Turn, run
from launch.benches.peer_set import prepare_all
from pipeline.errors import BadInput


@dataclass(frozen=True)
class Line:
    """A line of the table: medians, and ratios to the best peer that keeps the files' bytes, round by round."""

    name: str
    reads: str
    crop: int
    pairs_per_s: float
    cpu_s_per_1000: float
    of_peer: tuple[float, float, float] | None
    """Least, median and most."""
    turns: list[Turn]


def table(turns: dict[str, list[Turn]], crop: int) -> list[Line]:
    middle = {row: statistics.median(turn.pairs_per_s for turn in told) for row, told in turns.items()}
    best = max((row for row in KEEP_BYTES if row in turns), key=middle.__getitem__, default="baseline")
    lines = []
    for row, told in turns.items():
        ratios = [turn.pairs_per_s / peer.pairs_per_s for turn, peer in zip(told, turns.get(best, []), strict=False)]
        of_peer = (min(ratios), statistics.median(ratios), max(ratios)) if ratios else None
        cpu = statistics.median(turn.cpu_s_per_1000 for turn in told)
        lines.append(Line(TITLES[row].name, TITLES[row].reads, crop, middle[row], cpu, of_peer, told))
    return lines


def markdown(lines: list[Line]) -> str:
    said = [
        "| loader | reads | crop | pairs/s | CPU s per 1,000 | of the best peer: min, median, max |",
        "|" + "---|" * 6,
    ]
    for line in lines:
        ratios = ", ".join(f"{ratio:.2f}" for ratio in line.of_peer or ())
        cells = line.name, line.reads, str(line.crop), f"{line.pairs_per_s:,.0f}", f"{line.cpu_s_per_1000:.3f}", ratios
        said.append("| " + " | ".join(cells) + " |")
    return "\n".join(said)


def draw(lines: list[Line], path: Path) -> None:
    """A bar a row and side of the crop, from least to most, on a logarithmic scale."""
    from matplotlib.figure import Figure

    crops = sorted({line.crop for line in lines})
    figure = Figure(figsize=(6 * len(crops), 4.5), layout="constrained")
    for axis, crop in zip(figure.subplots(1, len(crops), squeeze=False)[0], crops, strict=True):
        here = [line for line in lines if line.crop == crop][::-1]
        rates = [[turn.pairs_per_s for turn in line.turns] for line in here]
        spread = [[line.pairs_per_s - min(each) for line, each in zip(here, rates, strict=True)]]
        spread.append([max(each) - line.pairs_per_s for line, each in zip(here, rates, strict=True)])
        colours = ["tab:blue" if line.name.startswith("n2n") else "tab:grey" for line in here]
        axis.barh([line.name for line in here], [line.pairs_per_s for line in here], xerr=spread, color=colours)
        axis.set_xscale("log")
        axis.set_xlabel(f"pairs/s of {crop} x {crop}")
    figure.savefig(path, dpi=150)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="n2n bench peers", description="The loader beside those of other libraries.")
    say = parser.add_argument
    say("--data", type=Path, help="a shard set that keeps the bytes of JPEG files (default: generated pictures)")
    say("--python", default=sys.executable, help="the Python that has the other libraries (default: this one)")
    say("--crop", type=int, nargs="+", default=[64, 256], help="sides of the views (default: 64 256)")
    say("--workers", type=int, default=2)
    say("--batch", type=int, default=16)
    say("--repeats", type=int, default=5, help="turns of every row (default: 5); 0 only prepares the set")
    say("--seconds", type=float, default=2.0, help="of each measurement (default: 2)")
    say("--pictures", type=int, default=1000, help="at most so many of the set's (default: 1000)")
    say("--rows", nargs="+", default=list(TITLES), choices=list(TITLES), metavar="ROW", help=f"of {', '.join(TITLES)}")
    say(
        "--set",
        type=Path,
        help="folder for what loaders read; what is there is used as it is (default: one that is removed)",
    )
    say("--out", type=Path, help="folder for the table (table.json, table.md) and the plot (plot.png)")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    for name in ("workers", "batch", "seconds", "pictures"):
        if not getattr(options, name) > 0:
            raise BadInput("nothing to measure", f"--{name}", str(getattr(options, name)), "more than 0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clauses that end what is stopped
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.set or Path(temporary)).absolute()
        job = [str(folder), str(max(options.crop)), str(options.workers), str(options.batch)]
        rows = prepare_all(options.data, folder, options.rows, options.python, job, options.pictures)
        print(
            f"{len(list((folder / 'pictures').iterdir()))} pictures, {options.workers} workers on "
            f"{len(os.sched_getaffinity(0))} cores, batches of {options.batch}; "
            f"medians of {options.repeats} turns of {options.seconds:g} s",
            flush=True,
        )
        for crop in options.crop if options.repeats else ():
            job[1] = str(crop)
            lines += table(run(rows, options.python, job, options.repeats, options.seconds), crop)
    if not lines:  # the set is prepared, which is all that was asked for
        return
    print(markdown(lines))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "table.json").write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
        (options.out / "table.md").write_text(markdown(lines) + "\n")
        if importlib.util.find_spec("matplotlib"):
            draw(lines, options.out / "plot.png")
        else:
            print("no plot: it needs matplotlib, pip install -e '.[plot]'")
