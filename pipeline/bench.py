"""Verb: how fast shards are written here, beside tar and the writers of other libraries, as ratios in one run.

Every row is a command of its own, so that all its threads and processes are counted; what it takes to start is told
apart. Rows take turns, so what else the machine does falls on all.
"""

import argparse
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from pipeline.errors import BadInput, run_verb
from pipeline.sharding.plan import PlanConfig, make_plan
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import Sources, list_sources

TAR = "GNU tar"
PEERS = Path(__file__).with_name("peers.py")
PATIENCE_S = 600  # for one writer; some that other libraries start processes for never end


@dataclass(frozen=True)
class Writer:
    """A command that writes all pictures to a folder."""

    does: str
    """What of our own work it does as well."""
    command: list[str]
    """{out} stands for the folder; the names of the pictures, or their paths, come by the standard input."""
    start: list[str] = field(default_factory=list)
    """A command that only starts; for peers nothing, as they say themselves what their writing took."""
    names: bool = False


@dataclass(frozen=True)
class Spent:
    """What one command took without its start, in seconds."""

    wall: float
    cpu: float
    start: float = 0.0


def writers(source: Path, workers: list[int], python: str) -> dict[str, Writer]:
    """All rows. Peers are run by the `python` that has them; those that do not start are left out with a word."""
    tar = f"tar -cf {{out}}/a.tar -C {shlex.quote(str(source))} --null --no-recursion -T -"
    flushed = ["sh", "-c", f"{tar} && sync {{out}}/a.tar"]
    found = {
        TAR: Writer("no hash, no check, no index, one file", ["sh", "-c", tar], names=True),
        f"{TAR}, flushed": Writer("the same, on the disk at the end", flushed, names=True),
    }
    shard = [sys.executable, "-m", "pipeline.shard"]
    checks = ("header", "parses every header", workers), ("decode", "decodes every picture", workers[:1])
    for check, says, counts in checks:
        for count in counts:
            command = [*shard, str(source), "--out", "{out}/set", "--check", check, "--workers", str(count)]
            does = f"SHA-256 of picture and of shard, CRC-32, {says}, finds duplicates, index, on the disk"
            found[f"n2n shard --check {check}, {count}"] = Writer(does, command, [*shard, "--help"])
    peers = {
        "webdataset": ("webdataset ShardWriter", "no hash, no check, no index"),
        "mds": ("MosaicML MDSWriter", "no hash, no check, index"),
        "mds-sha256": ("MosaicML MDSWriter, sha256", "SHA-256 of shard, no check, index"),
        "ffcv": ("FFCV DatasetWriter, jpg", "decodes and encodes anew, no hash, index"),
    }
    for name, (title, does) in peers.items():
        command = [python, "-P", str(PEERS), name, "{out}"]
        found[title] = Writer(does, command)
    return found


def spend(row: Writer, out: Path, given: bytes) -> Spent:
    """Run a row's command to its end. Raises CalledProcessError where it fails."""
    start = run(row.start, out, b"")[0] if row.start else Spent(0.0, 0.0)
    whole, said = run(row.command, out, given)
    if str(PEERS) in row.command:
        inside = json.loads(said.splitlines()[-1])
        return Spent(inside["wall"], inside["cpu"], whole.wall - inside["wall"])
    return Spent(max(1e-9, whole.wall - start.wall), max(0.0, whole.cpu - start.cpu), start.wall)


def run(command: list[str], out: Path, given: bytes) -> tuple[Spent, bytes]:
    """What a whole command took, and what it printed."""
    out.mkdir()
    words = [word.replace("{out}", str(out)) for word in command]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        done = subprocess.run(words, input=given, check=True, capture_output=True, timeout=PATIENCE_S)
    finally:
        shutil.rmtree(out)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime), done.stdout


def measure(rows: dict[str, Writer], sources: Sources, folder: Path, repeats: int) -> dict[str, list[Spent]]:
    """What each row took, `repeats` times after one that warms the page cache; rows that do not run are left out."""
    names = b"\0".join(sources.name(position) for position in range(len(sources)))
    paths = b"\0".join(os.fsencode(source.path) for source in sources)
    spent: dict[str, list[Spent]] = {}
    for repeat in range(repeats + 1):
        for name in rows if repeat == 0 else list(spent):
            try:
                took = spend(rows[name], folder / "out", names if rows[name].names else paths)
            except (subprocess.SubprocessError, FileNotFoundError):
                if str(PEERS) not in rows[name].command or repeat:
                    raise
                continue
            spent.setdefault(name, []).append(took)
    return {name: runs[1:] for name, runs in spent.items()}


@dataclass(frozen=True)
class Row:
    """One line of the table: rates without start-up, ratios to GNU tar of the same round."""

    pictures_per_s: float
    of_tar: tuple[float, float, float]
    """Least, median and most."""
    cpu_us: float
    """A picture, on all cores together."""
    start_s: float
    does: str
    runs: list[Spent]


def table(rows: dict[str, Writer], spent: dict[str, list[Spent]], pictures: int) -> dict[str, Row]:
    answer = {}
    for name, runs in spent.items():
        ratios = [tar.wall / run.wall for tar, run in zip(spent[TAR], runs, strict=True)]
        answer[name] = Row(
            pictures / statistics.median(run.wall for run in runs),
            (min(ratios), statistics.median(ratios), max(ratios)),
            statistics.median(run.cpu for run in runs) / pictures * 1e6,
            statistics.median(run.start for run in runs),
            rows[name].does,
            runs,
        )
    return answer


def show(answer: dict[str, Row]) -> None:
    print(f"{'':30} pictures/s   of GNU tar: min median   max   CPU us/picture   start s")
    for name, row in answer.items():
        least, median, most = row.of_tar
        rate = f"{row.pictures_per_s:10.0f}   {least:15.2f} {median:6.2f} {most:5.2f}"
        print(f"{name:30} {rate}   {row.cpu_us:14.0f}   {row.start_s:7.2f}   {row.does}")


def plan_memory(pictures: int) -> None:
    """Make a plan for so many generated entries, named as those of ImageNet, and say what it took."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    sources = Sources([Path("x")], [""])
    for number in range(pictures):
        sources.add(0, b"n01440764/n01440764_%010d.JPEG" % number, 110_000 + number % 1000, None)
    plan = make_plan(sources, np.arange(len(sources)), PlanConfig(), StorageConfig(), [])
    last = plan.job(plan.shards - 1).files[-1]
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(f"{pictures} entries in {plan.shards} shards, the last {last.name}; plan {plan.sha256[:12]}")
    print(
        f"{taken / 1e6:.0f} MB at the peak, {taken / pictures:.0f} bytes an entry, {time.perf_counter() - start:.0f} s"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.bench", description="Measure writers of shards.")
    say = parser.add_argument
    say("source", type=Path, nargs="?", help="a folder of pictures, no two of them equal")
    say("--on", type=Path, default=Path(tempfile.gettempdir()), help="folder of the disk to write on")
    say("--repeats", type=int, default=5)
    say("--workers", type=int, nargs="+", default=[1, 2, 4], help="processes of n2n shard (default: 1 2 4)")
    say("--peers", default=sys.executable, help="the Python that has the other libraries (default: this one)")
    say("--json", type=Path, help="write the table, with every run, to this file as well")
    say("--plan", type=int, default=0, help="instead: memory and time of a plan for so many generated entries")
    options = parser.parse_args(arguments)
    if options.plan > 0:
        plan_memory(options.plan)
        return
    if options.source is None or not options.source.is_dir() or options.repeats < 1 or min(options.workers) < 1:
        wanted = "a folder of pictures, and --repeats and --workers of at least 1"
        raise BadInput("nothing to measure", options.source or "the command line", "", wanted)
    sources = list_sources([options.source])
    rows = writers(options.source.resolve(), options.workers, options.peers)
    with tempfile.TemporaryDirectory(dir=options.on) as folder:
        spent = measure(rows, sources, Path(folder), options.repeats)
    megabytes = sum(sources.sizes) / 1e6
    print(f"{len(sources)} pictures, {megabytes:.0f} MB, on {options.on}; medians of {options.repeats}, taking turns")
    answer = table(rows, spent, len(sources))
    show(answer)
    for name in rows.keys() - spent.keys():
        print(f"{name:30} not installed for {options.peers}, or not done within {PATIENCE_S} s")
    if options.json:
        options.json.write_text(json.dumps({name: asdict(row) for name, row in answer.items()}, indent=1) + "\n")


if __name__ == "__main__":
    run_verb(main)
