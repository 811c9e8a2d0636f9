"""Verb: how fast shards are written here, beside tar and the writers of other libraries, as ratios in one run."""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import webdataset

from pipeline.errors import BadInput, run_verb
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import Sources, list_sources

Writer = Callable[[Sources, Path], None]


def ours(sources: Sources, out: Path) -> None:
    """Hashes every picture and every shard, reads headers, looks for duplicates, flushes to the disk; one worker."""
    shard(sources, out / "set", ShardConfig(storage=StorageConfig(check="header")))


def ours_decoding(sources: Sources, out: Path) -> None:
    shard(sources, out / "set", ShardConfig())


def gnu_tar(sources: Sources, out: Path) -> None:
    """The plainest writer there is: no hash, no index, no flush."""
    names = b"\0".join(sources.name(position) for position in range(len(sources)))
    command = ["tar", "-cf", str(out / "a.tar"), "-C", str(sources.roots[0]), "--null", "--no-recursion", "-T", "-"]
    subprocess.run(command, input=names, check=True)


def gnu_tar_synced(sources: Sources, out: Path) -> None:
    gnu_tar(sources, out)
    subprocess.run(["sync", out / "a.tar"], check=True)


def webdataset_writer(sources: Sources, out: Path) -> None:
    with webdataset.ShardWriter(str(out / "%06d.tar"), maxsize=128e6, verbose=0) as writer:
        for number, source in enumerate(sources):
            writer.write({"__key__": f"{number:09d}", "jpg": source.path.read_bytes()})


def mosaic_writer(sources: Sources, out: Path) -> None:
    from streaming import MDSWriter  # type: ignore[import-not-found]  # only where it is installed

    with MDSWriter(out=str(out / "mds"), columns={"jpg": "bytes"}, size_limit=1 << 27) as writer:
        for source in sources:
            writer.write({"jpg": source.path.read_bytes()})


def writers() -> dict[str, Writer]:
    found: dict[str, Writer] = {
        "GNU tar": gnu_tar,
        "GNU tar, flushed": gnu_tar_synced,
        "n2n shard --check header": ours,
        "n2n shard": ours_decoding,
        "webdataset ShardWriter": webdataset_writer,
    }
    if find_spec("streaming"):
        found["MosaicML MDSWriter"] = mosaic_writer
    return found


def measure(sources: Sources, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each writer, interleaved so that what else the machine does falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in writers()}
    for _ in range(repeats + 1):  # the first warms the page cache
        for name, write in writers().items():
            out = Path(tempfile.mkdtemp(dir=folder))
            start = time.perf_counter()
            write(sources, out)
            seconds[name].append(time.perf_counter() - start)
            shutil.rmtree(out)
    return {name: values[1:] for name, values in seconds.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.bench", description="Measure writers of shards.")
    parser.add_argument("source", type=Path, help="a folder of pictures, no two of them equal")
    parser.add_argument("--on", type=Path, default=Path(tempfile.gettempdir()), help="folder of the disk to write on")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    if not options.source.is_dir() or options.repeats < 1:
        raise BadInput("nothing to measure", options.source, "", "a folder of pictures, and --repeats of at least 1")
    sources = list_sources([options.source])
    megabytes = sum(sources.sizes) / 1e6
    with tempfile.TemporaryDirectory(dir=options.on) as folder:
        seconds = measure(sources, Path(folder), options.repeats)
    tar = statistics.median(seconds["GNU tar"])
    print(f"{len(sources)} pictures, {megabytes:.0f} MB, one process each; medians of {options.repeats}, interleaved")
    for name, values in seconds.items():
        median = statistics.median(values)
        rates = f"{len(sources) / median:8.0f} pictures/s {megabytes / median:7.0f} MB/s"
        print(f"{name:26}{rates}   {tar / median:5.2f} of GNU tar")


if __name__ == "__main__":
    run_verb(main)
