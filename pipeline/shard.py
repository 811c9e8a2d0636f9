"""Verb: sources -> shards. A plan first, then whole shards in a pool of processes, then the index.

The plan depends on the sources, the options and the seed alone, and a shard on the plan alone: any number of
workers and machines, any interruption and any repetition give the same bytes. Unfinished work lives in OUT/.work;
index.json is written last, so a set without it is not finished.
"""

import argparse
import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pipeline.audit import AuditConfig
from pipeline.errors import BadInput, run_verb
from pipeline.exr.buffers import Patterns
from pipeline.index import Index, LeftOut, shown
from pipeline.remote.place import Place, output_place
from pipeline.shard_pairs import ShardPairsConfig, shard_pairs
from pipeline.sharding.assemble import Kind, MakeConfig, make_set
from pipeline.sharding.duplicates import find_duplicates
from pipeline.sharding.part import Part, part_of_environment
from pipeline.sharding.plan import PlanConfig, make_plan
from pipeline.sharding.render_shards import RenderShardConfig, shard_renders
from pipeline.sharding.shard_writer import gather, write_shard
from pipeline.sharding.shot_scenes import ShotsConfig
from pipeline.sharding.split import Split
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import Sources, list_sources
from pipeline.sources.shots import Layout, ScenesConfig, list_scenes

SOURCES_HELP = "folders of pictures, tars (also of tars, also WebDataset), zips; globs; s3://, gs://, https:// of these"
MODES = ("leave-out", "refuse", "keep")
NOT_OF_SCENES = ("list", "store", "min_side", "max_side", "grey", "slices", "check", "keep_duplicates")
OF_PAIRS = ("pattern", "reference", "white")
OF_RENDERS = ("renders_pattern", "channels")
LEAST_TILE = 8


@dataclass(frozen=True, kw_only=True)
class ShardConfig(MakeConfig):
    """How a set of pictures is made."""

    storage: StorageConfig = field(default_factory=StorageConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    split: Split | None = None
    keep_duplicates: bool = False


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
        plan = make_plan(sources, chosen, config.plan, config.storage, known)
        return {"": make_set(plan, of_pictures(config.storage), out, config)}
    indices: dict[str, Index | None] = {}
    for part, positions in config.split.parts(sources, chosen).items():
        plan_config = replace(config.plan, split=config.split.describe(part))
        # What was left out before belongs to no part; it is listed with the first, the training part.
        plan = make_plan(sources, positions, plan_config, config.storage, [] if indices else known)
        indices[part] = make_set(plan, of_pictures(config.storage), out / part, config)
    return indices


def of_pictures(storage: StorageConfig) -> Kind:
    return Kind(partial(write_shard, storage=storage), gather)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="n2n shard", description="Turn pictures into WebDataset tar shards.")
    say = parser.add_argument
    say("sources", nargs="*", help=SOURCES_HELP)
    say("--list", type=Path, action="append", default=[], help="a file of paths of pictures, one a line")
    say(
        "--renders",
        type=Path,
        nargs="+",
        default=[],
        help="folders of EXR files instead: several renders of each frame",
    )
    say("--renders-pattern", default="", help="regular expression of their names, with a group named frame, ...")
    say("--channels", action="append", default=[], help="channels of a buffer of theirs, as in albedo=house_alb.[RGB]")
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
    say("--pairs", choices=get_args(Layout), help="real noisy shots: the sources are folders of scenes, laid out so")
    say("--pattern", default="", help="with --pairs pattern: names as (?P<scene>...) and (?P<shot>...)")
    say(
        "--reference", nargs="+", default=[], help="with --pairs: names of shots that are clean (default: clean gt ...)"
    )
    say("--audit", choices=MODES, default="leave-out", help="with --pairs, --renders: what becomes of defects")
    say("--white", type=float, default=0.0, help="with --pairs: the value of white (default: the greatest of its type)")
    say("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    say("--part", help="make the shards of part I of N alone: I/N (default: what the launcher's variables say)")
    say("--finish", action="store_true", help="verify all parts and write the index")
    return parser


def read_config(options: argparse.Namespace) -> ShardConfig:
    storage = {name: getattr(options, name) for name in StorageConfig.__dataclass_fields__}
    return ShardConfig(
        storage=StorageConfig(**storage), keep_duplicates=options.keep_duplicates, **read_common(options)
    )


def read_common(options: argparse.Namespace) -> dict[str, Any]:
    """What sets of pictures and of scenes are both told."""
    if options.workers < 1:
        raise BadInput("--workers is too small", "the command line", str(options.workers), ">= 1")
    if not 0 <= options.max_bad <= 1:
        raise BadInput("--max-bad is no share", "the command line", str(options.max_bad), "a number from 0 to 1")
    if options.tile and options.tile < LEAST_TILE:
        raise BadInput("--tile is too small", "the command line", str(options.tile), f"at least {LEAST_TILE}")
    if not options.sources and not options.list and not options.renders:
        raise BadInput("no sources", "the command line", "", "folders, archives, a --list or --renders")
    part = Part.parse(options.part) if options.part else part_of_environment(os.environ)
    return {
        "plan": PlanConfig(shard_mb=options.shard_mb, seed=options.seed),
        "split": Split.parse(options.split, options.group_by) if options.split else None,
        "max_bad": options.max_bad,
        "workers": options.workers,
        "part": Part() if options.finish else part,
        "finish": options.finish,
    }


def make(options: argparse.Namespace, out: Place) -> dict[str, Index | None]:
    if options.renders:
        return make_renders(options, out)
    refuse(options, OF_RENDERS, "--renders")
    if not options.pairs:
        refuse(options, OF_PAIRS, "--pairs")
        config = read_config(options)  # before anything is listed, which may take long
        return shard(list_sources(options.sources, options.list, slices=options.slices), out, config)
    refuse(options, NOT_OF_SCENES, "pictures")
    references = {"references": tuple(name.lower() for name in options.reference)} if options.reference else {}
    scenes = ScenesConfig(layout=options.pairs, pattern=options.pattern, **references)
    shots = ShotsConfig(audit=AuditConfig(mode=options.audit), tile=options.tile, white=options.white)
    of_scenes = ShardPairsConfig(scenes=scenes, shots=shots, **read_common(options))
    return shard_pairs(list_scenes(options.sources, scenes), out, of_scenes)


def refuse(options: argparse.Namespace, names: tuple[str, ...], of: str) -> None:
    """Raise BadInput where one of these options is given, which would change nothing here."""
    parser = build_parser()
    for name in names:
        given = getattr(options, name)
        if given != parser.get_default(name) and given != []:
            flag = name if name == "sources" else "--" + name.replace("_", "-")
            raise BadInput(f"{flag} is for {of}", "the command line", f"{flag} {given}", f"{of}, or without {flag}")


def make_renders(options: argparse.Namespace, out: Place) -> dict[str, Index | None]:
    """Raises BadInput where an option is given that renders do not know."""
    refuse(options, ("sources", "pairs"), "pictures and shots")
    refuse(options, NOT_OF_SCENES, "pictures")
    refuse(options, OF_PAIRS, "--pairs")
    config = RenderShardConfig(
        tile=options.tile,
        pattern=options.renders_pattern,
        channels=Patterns.parse(options.channels),
        audit=AuditConfig(mode=options.audit),
        **read_common(options),
    )
    return shard_renders(options.renders, out, config)


def main(arguments: list[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    folder = output_place(options.out)
    indices = make(options, folder)
    for name, index in indices.items():
        out = folder / name
        if index is None:
            part = read_common(options)["part"]
            print(f"part {part} is done in {out}; when all are, run the same command with --finish")
            continue
        megabytes = sum(entry.bytes for entry in index.shards) / 1e6
        what = "frames" if options.renders else "scenes" if options.pairs else "pictures"
        print(f"{index.samples} {what} in {len(index.shards)} shards, {megabytes:.1f} MB, in {out}")
        for entry in index.left_out:
            print(f"left out: {shown(entry)}")


if __name__ == "__main__":
    run_verb(main)
