"""Verb: sources -> shards. A plan first, then whole shards in a pool of processes, then the index.

The plan depends on the sources, the options and the seed alone, and a shard on the plan alone: any number of
workers and machines, any interruption and any repetition give the same bytes. Unfinished work lives in OUT/.work;
index.json is written last, so a set without it is not finished.
"""

import argparse
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.atomic import write_whole
from pipeline.errors import BadInput, disk_error, run_verb
from pipeline.index import INDEX, SAMPLES, Index, LeftOut, ShardEntry, file_sha256, library_versions, load_index, shown
from pipeline.reader import damage
from pipeline.remote import Place, output_place, remove_tree
from pipeline.sharding.duplicates import find_duplicates
from pipeline.sharding.jobs import WORK, all_results, claim_folder, differences, remove_leftovers, run_jobs, sole_writer
from pipeline.sharding.part import Part, part_of_environment
from pipeline.sharding.plan import Plan, PlanConfig, make_plan
from pipeline.sharding.shard_writer import ShardResult
from pipeline.sharding.split import Split
from pipeline.sharding.statistics import Levels, describe_table
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import Sources, list_sources

SOURCES_HELP = "folders of pictures, tars (also of tars, also WebDataset), zips; globs; s3://, gs://, https:// of these"
NOT_BAD = ("duplicate", "small", "empty")  # left out because it was asked for


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """How a set is made."""

    storage: StorageConfig = field(default_factory=StorageConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    split: Split | None = None
    keep_duplicates: bool = False
    max_bad: float = 0.01
    """Share of sources that may be unreadable or unsafe."""
    workers: int = 1
    part: Part = field(default_factory=Part)
    finish: bool = False
    """Write the index of a set whose parts are all there."""


def shard(sources: Sources, out: Place, config: ShardConfig) -> dict[str, Index | None]:
    """Turn pictures into a shard set in `out`, or into one per part of the split in a folder of its name.

    Goes on where a stopped run of the same command was. The answer has an index per set, None where this was one
    part of several. Raises BadInput where the sources hold no picture that can be read, or more than the share
    `max_bad` of bad ones, or where `out` holds anything else.
    """
    twins = {} if config.keep_duplicates else find_duplicates(sources)
    chosen = np.delete(np.arange(len(sources)), list(twins))
    known = [*sources.left_out]
    known += [LeftOut(sources[p].title, "duplicate", f"equal to {sources[twins[p]].title}") for p in sorted(twins)]
    if config.split is None:
        return {"": shard_plan(make_plan(sources, chosen, config.plan, config.storage, known), out, config)}
    indices: dict[str, Index | None] = {}
    for part, positions in config.split.parts(sources, chosen).items():
        plan_config = replace(config.plan, split=config.split.describe(part))
        # What was left out before belongs to no part; it is listed with the first, the training part.
        plan = make_plan(sources, positions, plan_config, config.storage, [] if indices else known)
        indices[part] = shard_plan(plan, out / part, config)
    return indices


def shard_plan(plan: Plan, out: Place, config: ShardConfig) -> Index | None:
    try:
        if (out / INDEX).exists():
            index = finished_already(out, plan)
            remove_tree(out / WORK)  # a run killed after its last file but one step before its end leaves it
            return index
        claim_folder(out, plan)
    except OSError as error:  # such as a file in the way, or a folder that nobody may make
        raise disk_error(error, out) from error
    with sole_writer(out, config.part):
        if not config.finish:
            run_jobs(plan, out, config.workers, config.part)
            if config.part.count > 1:
                return None
        results = all_results(plan, out)
        if config.finish:
            refuse_damage(out, [result.entry for result in results if result.entry.samples])
        index = collect(plan, results, config.max_bad, out)
    remove_tree(out / WORK)
    return index


def finished_already(out: Place, plan: Plan) -> Index:
    index = load_index(out)
    if index.options.get("plan_sha256") != plan.sha256:
        raise BadInput(
            "the output folder already holds another set",
            where=out,
            got=f"{index.samples} samples; now {differences(index.options, plan.options())}",
            wanted="an empty folder, or the set of this very command",
            todo="choose another --out, or delete the folder",
        )
    return index


def refuse_damage(out: Place, entries: list[ShardEntry]) -> None:
    """Read every shard again: other machines wrote them, and this is the last moment at which one is easily remade."""
    faults = damage(out, entries)
    if faults:
        todo = f"delete these shards' files in {out / WORK}, run their parts again, then --finish"
        raise BadInput("damaged shards", out, "\n            ".join(faults), "shards as they were written", todo)


def collect(plan: Plan, results: list[ShardResult], max_bad: float, out: Place) -> Index:
    """Gather the shards' results into samples.npy and index.json, or refuse a set with too many bad sources."""
    left_out = plan.left_out + [entry for result in results for entry in result.left_out]
    samples = sum(result.entry.samples for result in results)
    refuse_bad_sources(left_out, samples, len(plan.order) + len(plan.left_out), max_bad, out)
    filled = [result for result in results if result.entry.samples]
    tables = [result.load_table(out / WORK) for result in filled]
    for number, table in enumerate(tables):
        table["shard"] = number
    table = np.concatenate(tables)
    levels = Levels()
    for result in filled:
        levels.merge(result.levels)
    with write_whole(out / SAMPLES) as file:
        np.save(file, table)
    index = Index(
        shards=[result.entry for result in filled],
        samples_sha256=file_sha256(out / SAMPLES),
        options=plan.options(),
        versions=library_versions("n2n", "pillow", "numpy", "imagecodecs", "tifffile"),
        statistics={**describe_table(table), **levels.summary()},
        left_out=left_out,
    )
    remove_leftovers(out)
    index.save(out)
    return index


def refuse_bad_sources(left_out: list[LeftOut], samples: int, total: int, max_bad: float, out: Place) -> None:
    bad = [entry for entry in left_out if entry.kind not in NOT_BAD]
    if samples and len(bad) <= max_bad * total:
        return
    listed = bad if samples else left_out
    examples = "".join(f"\n            {shown(entry)}" for entry in listed[:10])
    more = f"\n            and {len(listed) - 10} more" if len(listed) > 10 else ""
    raise BadInput(
        "too many unreadable pictures" if samples else "no readable picture",
        where=out,
        got=f"{len(listed)} of {total} left out:{examples}{more}",
        wanted=f"at most {max_bad:.1%} (--max-bad)" if samples else "at least one readable picture",
        todo="mend or remove them and delete the folder"
        + (", or repeat the command with a larger --max-bad: what is done is kept" if samples else ""),
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="n2n shard", description="Turn pictures into WebDataset tar shards.")
    say = parser.add_argument
    say("sources", nargs="*", help=SOURCES_HELP)
    say("--list", type=Path, action="append", default=[], help="a file of paths of pictures, one a line")
    say("--out", required=True, help="folder for the set, or s3://..., gs://...; index.json appears there last")
    say("--shard-mb", type=float, default=128.0, help="megabytes of sources that fill a shard (default: 128)")
    say("--seed", type=int, default=0, help="of the order of pictures in the set (default: 0)")
    say("--store", choices=("source", "pixels"), default="source", help="the files' own bytes, or decoded pixels")
    say("--min-side", type=int, default=2, help="leave out pictures with a shorter side")
    say("--max-side", type=int, default=0, help="scale larger pictures down to this side; they are stored decoded")
    say("--tile", type=int, default=0, help="cut larger pictures into parts of this side; they are stored decoded")
    say("--grey", action="store_true", help="make colour grey; such pictures are stored decoded")
    say("--slices", action="store_true", help="take volumes apart too: .npy, .nii, .nii.gz into greyscale slices")
    say("--check", choices=("decode", "header"), default="decode", help="decode every picture, or trust its structure")
    say("--split", help="make two sets, OUT/train and OUT/NAME: NAME=SHARE, such as val=0.05")
    say("--group-by", choices=("file", "folder"), default="file", help="what a split keeps together (default: file)")
    say("--keep-duplicates", action="store_true", help="do not look for files of equal bytes")
    say("--max-bad", type=float, default=0.01, help="share of unreadable files allowed (default: 0.01)")
    say("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    say("--part", help="make the shards of part I of N alone: I/N (default: what the launcher's variables say)")
    say("--finish", action="store_true", help="verify all parts and write the index")
    return parser


def read_config(options: argparse.Namespace) -> ShardConfig:
    for name, least in (("workers", 1), ("max_bad", 0)):
        if getattr(options, name) < least:
            flag = "--" + name.replace("_", "-")
            raise BadInput(f"{flag} is too small", "the command line", str(getattr(options, name)), f">= {least}")
    if not options.sources and not options.list:
        raise BadInput("no sources", "the command line", "", "folders, archives or a --list")
    storage = {name: getattr(options, name) for name in StorageConfig.__dataclass_fields__}
    part = Part.parse(options.part) if options.part else part_of_environment(os.environ)
    return ShardConfig(
        storage=StorageConfig(**storage),
        plan=PlanConfig(shard_mb=options.shard_mb, seed=options.seed),
        split=Split.parse(options.split, options.group_by) if options.split else None,
        keep_duplicates=options.keep_duplicates,
        max_bad=options.max_bad,
        workers=options.workers,
        part=Part() if options.finish else part,
        finish=options.finish,
    )


def main(arguments: list[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    config = read_config(options)
    folder = output_place(options.out)
    indices = shard(list_sources(options.sources, options.list, slices=options.slices), folder, config)
    for part, index in indices.items():
        out = folder / part
        if index is None:
            print(f"part {config.part} is done in {out}; when all are, run the same command with --finish")
            continue
        megabytes = sum(entry.bytes for entry in index.shards) / 1e6
        print(f"{index.samples} pictures in {len(index.shards)} shards, {megabytes:.1f} MB, in {out}")
        for entry in index.left_out:
            print(f"left out: {shown(entry)}")


if __name__ == "__main__":
    run_verb(main)
