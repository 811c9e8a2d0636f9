"""Folders of WebDataset tars that others wrote: indexed once, at first use, and from then on a set like our own.

The index lies beside the tars; where nothing may be written there, in ~/.cache/noise2noise/sets, in a folder with
links to them.
"""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.atomic import write_whole
from pipeline.errors import DISK_ERRORS, BadInput
from pipeline.index import INDEX, SAMPLES, Index, LeftOut, ShardEntry, file_sha256, library_versions, shown
from pipeline.orphans import die_with_parent
from pipeline.remote.place import ADDRESS
from pipeline.sharding.jobs import WORK
from pipeline.sharding.statistics import Levels, describe_table
from pipeline.sources.members import is_picture
from pipeline.tar_rows import TarRows, read_rows

KIND = "webdataset"  # of such a set, in its index's options
OURS = b'"n2n_version"'  # in an index.json of ours, and in no other tool's
RECORD = ".n2n-tars.json"  # names, sizes and times of the tars that were indexed; our own sets have none
LOCK = ".n2n-index.lock"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MOST_BAD = 0.01  # of the pictures, as `n2n shard` has it
ALONE = 1 << 28  # bytes of tars that one process goes through sooner than others have started
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)

Tars = dict[str, list[int]]
"""Size and time of change (ns) of each tar, by name."""


def indexed(where: str | Path) -> Path:
    """The folder with the index of a set: `where` itself, but for tars of others that can have none beside them.

    Tars without our index are indexed, and again when one has changed; processes that ask at the same time wait for
    the one that does it. Anything else is left to whoever opens it. Raises BadInput where a tar is damaged, and where
    they are compressed or hold no picture.
    """
    folder = Path(where)
    if ADDRESS.match(str(where)) or not folder.is_dir() or is_ours(folder):
        return folder
    tars = find_tars(folder)
    if not tars:
        return folder
    for place in places(folder, tars):
        if is_current(place, tars):
            return place
        try:
            with alone(place):
                if not is_current(place, tars):
                    make_index(folder, tars, place)
            return place
        except OSError as error:
            if error.errno not in (*DISK_ERRORS, *NO_LOCKS):
                raise
            refusal = error
    raise BadInput(
        "the index of these tars can be written nowhere",
        where=f"{folder}, {place}",
        got=refusal.strerror or str(refusal),
        wanted="room for about 50 bytes a picture in one of these folders",
        todo="let this user write there, or make a set of them with `n2n shard`",
    )


def is_ours(folder: Path) -> bool:
    """Whether `n2n shard` has made it, or is at it: what is wrong with it is told by whoever opens it."""
    made = (folder / SAMPLES).exists() or (folder / WORK).exists()
    if not made:
        try:  # a table that was lost is told as that, not made again: it said which pictures are in the set
            made = OURS in (folder / INDEX).read_bytes()
        except OSError:
            return False
    return made and not (folder / RECORD).exists()  # in this order: the record is there before all else that is made


def find_tars(folder: Path) -> Tars:
    """The tars of a folder, in the order of their names; none where pictures lie beside them, which are meant then.

    Raises BadInput where some are compressed.
    """
    entries = sorted((entry for entry in os.scandir(folder) if entry.name[0] != "."), key=lambda entry: entry.name)
    if any(is_picture(os.fsencode(entry.name)) for entry in entries):
        return {}
    compressed = [entry.name for entry in entries if entry.name.lower().endswith(COMPRESSED)]
    if compressed:
        raise BadInput(
            "compressed tars",
            where=folder,
            got=f"{compressed[0]}, of which no part can be read without all before it",
            wanted="plain .tar files",
            todo="decompress them (gunzip, unxz, zstd -d): pictures hardly shrink; then `n2n shard` may reshard them",
        )
    tars = {entry.name: entry.stat() for entry in entries if entry.name.endswith(".tar") and entry.is_file()}
    return {name: [status.st_size, status.st_mtime_ns] for name, status in tars.items()}


def places(folder: Path, tars: Tars) -> list[Path]:
    """Where the index may lie, in this order. An index.json of others' tools is not touched."""
    said = json.dumps([str(folder.resolve()), tars])
    cache = Path.home() / ".cache" / "noise2noise" / "sets" / hashlib.sha256(said.encode()).hexdigest()[:24]
    taken = (folder / INDEX).exists() and not (folder / RECORD).exists()
    return [cache] if taken else [folder, cache]


def is_current(place: Path, tars: Tars) -> bool:
    """Whether the tars are as they were when the index was made, which is there."""
    try:
        return (place / INDEX).is_file() and bool(json.loads((place / RECORD).read_bytes()) == tars)
    except (OSError, ValueError):
        return False


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Wait until no other process indexes these tars. Raises OSError where there can be no lock."""
    place.mkdir(parents=True, exist_ok=True)
    with open(place / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_index(folder: Path, tars: Tars, place: Path) -> None:
    """Go through all tars and write what there is of an index; index.json last."""
    began = time.perf_counter()
    found = read_all(folder, tars)
    for name, rows in found.items():
        if [rows.bytes, rows.mtime_ns] != tars[name]:
            got = "another size or time than a moment ago"
            raise BadInput("a tar is being changed", folder / name, got, "tars that nobody is writing", "wait for it")
    filled = {name: rows for name, rows in found.items() if rows.rows}
    left_out = [lost for rows in found.values() for lost in rows.left_out]
    refuse_bad(folder, sum(len(rows.rows) for rows in filled.values()), left_out)
    (place / INDEX).unlink(missing_ok=True)  # of the tars as they were: its table is no more
    if place != folder:
        for name in tars:
            (place / name).unlink(missing_ok=True)
            (place / name).symlink_to((folder / name).resolve())
    with write_whole(place / RECORD) as file:
        file.write(json.dumps(tars).encode())
    index = write_tables(filled, left_out, place)
    index.save(place)
    kinds = Counter(lost.kind for lost in left_out)
    lost = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "none"
    sys.stderr.write(
        f"{folder}: indexed {index.samples:,} pictures of {len(tars):,} tars in {time.perf_counter() - began:.1f} s, "
        f"once; left out: {lost}; {place / INDEX}\n"
    )


def read_all(folder: Path, tars: Tars) -> dict[str, TarRows]:
    """What every tar holds, by processes of which each goes through whole ones."""
    size = sum(bytes for bytes, _ in tars.values())
    workers = min(len(tars), len(os.sched_getaffinity(0)))
    paths = [folder / name for name in tars]
    with tqdm(total=size, desc="indexing tars", unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def gathered(results: Iterator[TarRows]) -> dict[str, TarRows]:
            found = {}
            for name, rows in zip(tars, results, strict=True):
                found[name] = rows
                bar.update(rows.bytes)
            return found

        if workers == 1 or size < ALONE:
            return gathered(map(read_rows, paths))
        # spawn: a forked child would inherit locks of threads that libraries have started
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=die_with_parent) as pool:
            return gathered(pool.map(read_rows, paths))


def refuse_bad(folder: Path, samples: int, left_out: list[LeftOut]) -> None:
    """Raise BadInput where nothing is left, or too much is unreadable."""
    bad = [lost for lost in left_out if lost.kind in ("unreadable", "unsafe")]
    if samples and len(bad) <= MOST_BAD * (samples + len(bad)):
        return
    listed = bad if samples else left_out
    examples = "".join(f"\n            {shown(lost)}" for lost in listed[:10])
    raise BadInput(
        "too many unreadable pictures" if samples else "no picture in these tars",
        where=folder,
        got=f"{len(listed):,} of {samples + len(left_out):,} samples left out{':' if listed else ''}{examples}",
        wanted=f"at most {MOST_BAD:.0%} unreadable" if samples else "samples with one picture each",
        todo="`n2n shard FOLDER/*.tar --max-bad SHARE` makes a set of what can be read",
    )


def write_tables(found: dict[str, TarRows], left_out: list[LeftOut], place: Path) -> Index:
    """Write the table of samples; the index that belongs to it."""
    tables, levels = [], Levels()
    for number, rows in enumerate(found.values()):
        tables.append(rows.table)
        tables[-1]["shard"] = number
        levels.merge(rows.levels)
    table = np.concatenate(tables)
    with write_whole(place / SAMPLES) as file:
        np.save(file, table)
    return Index(
        # To hash whole tars would take as long as all the rest; every sample has its CRC-32.
        shards=[ShardEntry(name, len(rows.rows), rows.bytes, "", "") for name, rows in found.items()],
        samples_sha256=file_sha256(place / SAMPLES),
        options={"kind": KIND},
        versions=library_versions("n2n", "pillow", "numpy", "imagecodecs", "tifffile"),
        statistics={**describe_table(table), **levels.summary()},
        left_out=left_out,
    )
