"""Verb: sources -> shards. A plan first, then whole shards in a pool of processes, then the index.

The plan depends on the sources, the options and the seed alone, and a shard on the plan alone: any number of
workers, any interruption and any repetition give the same bytes. Unfinished work lives in OUT/.work; index.json
is written last, so a set without it is not finished.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.atomic import PARTIAL, write_whole
from pipeline.errors import BadInput, run_verb
from pipeline.index import INDEX, SAMPLES, Index, LeftOut, library_versions, load_index
from pipeline.plan import Plan, make_plan
from pipeline.shard_writer import ShardResult, write_shard
from pipeline.sources import list_pictures

WORK = ".work"
PLAN = "plan.json"


def shard(sources: list[Path], out: Path, *, shard_mb: int, seed: int, workers: int, max_bad: float) -> Index:
    """Turn pictures into a shard set in `out`; goes on where a stopped run of the same command was.

    Raises BadInput where the sources hold no readable picture or more than the share `max_bad` of unreadable ones,
    or where `out` holds anything else.
    """
    plan = make_plan(list_pictures(sources), shard_mb * 1_000_000, seed)
    if (out / INDEX).exists():
        return finished_already(out, plan)
    prepare_folder(out, plan)
    results = run_jobs(plan, out, workers)
    index = collect(plan, results, max_bad, out)
    shutil.rmtree(out / WORK)
    return index


def finished_already(out: Path, plan: Plan) -> Index:
    index = load_index(out)
    if index.options.get("plan_sha256") != plan.sha256:
        raise BadInput(
            "the output folder already holds another set",
            where=out,
            got=f"{index.samples} samples made with {json.dumps(index.options)}",
            wanted="an empty folder, or the set of this very command",
            todo="choose another --out, or delete the folder",
        )
    return index


def prepare_folder(out: Path, plan: Plan) -> None:
    """Claim the output folder for this plan, or find it claimed by the same plan and go on."""
    claim = out / WORK / PLAN
    out.mkdir(parents=True, exist_ok=True)
    if claim.exists():
        claimed = json.loads(claim.read_bytes())
        if claimed["plan_sha256"] != plan.sha256:
            raise BadInput(
                "the output folder holds unfinished work of another command",
                where=out,
                got=json.dumps(claimed),
                wanted=json.dumps(plan.options()),
                todo="repeat that command (with its sources unchanged), or delete the folder and start anew",
            )
    elif any(entry.name != WORK for entry in out.iterdir()):
        raise BadInput("the output folder is not empty", out, "other files", "an empty folder", "choose another --out")
    (out / WORK).mkdir(exist_ok=True)
    for leftover in (*out.glob(f"*{PARTIAL}"), *(out / WORK).glob(f"*{PARTIAL}")):
        leftover.unlink()
    with write_whole(claim) as file:
        file.write(json.dumps(plan.options()).encode())


def run_jobs(plan: Plan, out: Path, workers: int) -> list[ShardResult]:
    """Write every shard that is not finished yet; the results in the plan's order."""
    results: dict[int, ShardResult] = {}
    bar = tqdm(total=len(plan.files), desc="shards", unit="picture", disable=None)
    for number, result in _write_all(plan, out, workers):
        results[number] = result
        bar.update(len(plan.shards[number]))
        left_out = sum(len(r.left_out) for r in results.values())
        bar.set_postfix_str(f"{sum(r.entry.bytes for r in results.values()) / 1e6:.0f} MB, {left_out} left out")
    bar.close()
    return [results[number] for number in range(len(plan.shards))]


def _write_all(plan: Plan, out: Path, workers: int) -> Iterator[tuple[int, ShardResult]]:
    numbers = range(len(plan.shards))
    if workers == 1 or len(plan.shards) == 1:
        for number in numbers:
            yield number, write_shard(plan.job(number), out, out / WORK)
        return
    # spawn: a forked child would inherit locks of threads that libraries have started
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(plan.shards)), context, initializer=_ignore_interrupt) as pool:
        futures = {pool.submit(write_shard, plan.job(number), out, out / WORK): number for number in numbers}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _ignore_interrupt() -> None:
    """Ctrl-C reaches the whole process group; the parent alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def collect(plan: Plan, results: list[ShardResult], max_bad: float, out: Path) -> Index:
    """Gather the shards' results into samples.npy and index.json, or refuse a set with too many bad sources."""
    left_out = [entry for result in results for entry in result.left_out]
    refuse_bad_sources(left_out, len(plan.files), max_bad, out)
    filled = [result for result in results if result.entry.samples]
    tables = [result.load_table(out / WORK) for result in filled]
    for number, table in enumerate(tables):
        table["shard"] = number
    table = np.concatenate(tables)
    with write_whole(out / SAMPLES) as file:
        np.save(file, table)
    index = Index(
        shards=[result.entry for result in filled],
        samples_sha256=hashlib.sha256((out / SAMPLES).read_bytes()).hexdigest(),
        options=plan.options(),
        versions=library_versions("n2n", "webdataset", "pillow", "numpy"),
        statistics={
            "height": {"min": int(table["height"].min()), "max": int(table["height"].max())},
            "width": {"min": int(table["width"].min()), "max": int(table["width"].max())},
            "pixels": int((table["height"].astype(np.int64) * table["width"]).sum()),
            "picture_bytes": int(table["size"].sum()),
        },
        left_out=left_out,
    )
    index.save(out)
    return index


def refuse_bad_sources(left_out: list[LeftOut], total: int, max_bad: float, out: Path) -> None:
    if len(left_out) < total and len(left_out) <= max_bad * total:
        return
    examples = "".join(f"\n            {entry.source}: {entry.reason}" for entry in left_out[:10])
    more = f"\n            and {len(left_out) - 10} more" if len(left_out) > 10 else ""
    none = len(left_out) == total
    raise BadInput(
        "no readable picture" if none else "too many unreadable pictures",
        where=out,
        got=f"{len(left_out)} of {total} left out:{examples}{more}",
        wanted="at least one readable picture" if none else f"at most {max_bad:.1%} (--max-bad)",
        todo=f"mend or remove them and choose a new --out{'' if none else ', or allow more with --max-bad'}",
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n shard", description="Turn pictures into WebDataset tar shards.")
    parser.add_argument("sources", type=Path, nargs="+", help="folders of pictures, nested as they like, or pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for the set; index.json appears there last")
    parser.add_argument("--shard-mb", type=int, default=128, help="size at which a shard is full (default: 128)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of pictures in the set (default: 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--max-bad", type=float, default=0.01, help="share of unreadable files allowed (default: 0.01)")
    options = parser.parse_args(arguments)
    for name, least in (("shard_mb", 1), ("workers", 1), ("max_bad", 0)):
        if getattr(options, name) < least:
            flag = "--" + name.replace("_", "-")
            raise BadInput(f"{flag} is too small", "the command line", str(getattr(options, name)), f">= {least}")
    index = shard(**vars(options))
    megabytes = sum(entry.bytes for entry in index.shards) / 1e6
    print(f"{index.samples} pictures in {len(index.shards)} shards, {megabytes:.1f} MB, in {options.out}")
    for entry in index.left_out:
        print(f"left out: {entry.source}: {entry.reason}")


if __name__ == "__main__":
    run_verb(main)
