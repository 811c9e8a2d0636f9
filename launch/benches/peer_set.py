"""What the benchmark of loaders reads: the same pictures as files, as our sets, and as other libraries keep them."""

import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from launch.benches.peer_rows import TITLES, command, reason
from pipeline.atomic import write_whole
from pipeline.dead_leaves import dead_leaves
from pipeline.errors import BadInput
from pipeline.foreign import indexed
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources

GENERATED = 64  # pictures
RECORD = "made-of.json"


def generate(pictures: Path, side: int) -> None:
    """Pictures to measure on where no set is named."""
    for number in range(GENERATED):
        pixels = dead_leaves(side + side // 2, np.random.default_rng(number))
        Image.fromarray(pixels).save(pictures / f"{number:06d}.jpg", quality=90)


def prepare(data: Path | None, folder: Path, side: int, most: int) -> None:
    """The same pictures for all: files, and our two kinds of set. Those smaller than a crop are left out for all."""
    shards = ShardSet(indexed(data)) if data else None
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    if shards:
        copy_jpegs(shards, pictures, side, most)
    else:
        generate(pictures, side)
    if not any(pictures.iterdir()):
        raise BadInput("no picture to compare with", data, "none", f"JPEG files of at least {side} pixels a side")
    sources = list_sources([pictures])
    shard(sources, folder / "jpeg", ShardConfig(keep_duplicates=True))
    shard(sources, folder / "pixels", ShardConfig(storage=StorageConfig(store="pixels"), keep_duplicates=True))


def copy_jpegs(shards: ShardSet, pictures: Path, side: int, most: int) -> None:
    table = shards.table
    fit = np.flatnonzero((table["height"] >= side) & (table["width"] >= side) & (table["decoded"] == 0))
    for number, sample in enumerate(fit[:most].tolist()):
        stored = shards.read(sample)
        if stored.extension in ("jpg", "jpeg"):
            (pictures / f"{number:06d}.jpg").write_bytes(stored.data)


def claim(data: Path | None, folder: Path, side: int, most: int) -> None:
    """Note of what a folder is made, or raise BadInput where it was made of something else."""
    record = folder / RECORD
    now = {"data": str(data.resolve()) if data else "generated", "crop": side, "pictures": most}
    if data:
        now["samples_sha256"] = ShardSet(indexed(data)).index.samples_sha256
    if record.exists():
        before = json.loads(record.read_bytes())
        got = ", ".join(f"{name} {before.get(name)}" for name in now if before.get(name) != now[name])
        wanted = ", ".join(f"{name} {now[name]}" for name in now if before.get(name) != now[name])
    else:
        got = "files that say not of what they were made" if folder.exists() and any(folder.iterdir()) else ""
        wanted = "an empty folder, or one of an earlier benchmark"
    if got:
        todo = "name another folder with --set, or delete this one"
        raise BadInput("a set that was made of something else", folder, got, wanted, todo)
    folder.mkdir(parents=True, exist_ok=True)
    with write_whole(record) as file:
        file.write(json.dumps(now).encode())


def prepare_all(data: Path | None, folder: Path, rows: list[str], python: str, job: list[str], most: int) -> list[str]:
    """Make what every row reads, where that is not there yet; the rows for which that went well."""
    claim(data, folder, int(job[1]), most)
    if not (folder / "pixels" / "index.json").exists():  # the last thing that is made
        prepare(data, folder, int(job[1]), most)
    fit = []
    for row in rows:
        made, log = folder / f"{row}.made", folder / f"{row}.log"
        if not TITLES[row].ours and not made.exists():
            with open(log, "wb") as errors:
                words = command(row, "prepare", python, job)
                done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
            if done.returncode:
                print(f"{TITLES[row].name}: left out, {reason(log)}", flush=True)
                continue
            made.touch()
        fit.append(row)
    return fit
