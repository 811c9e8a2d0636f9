"""Shards by plan, in a pool of processes, then the index: what sets of pictures and of realisations have in common.

Unfinished work lives in OUT/.work; index.json is written last, so a set without it is not finished.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.errors import BadInput, disk_error
from pipeline.index import INDEX, Index, LeftOut, ShardEntry, library_versions, load_index, shown
from pipeline.remote.place import Place, remove_tree
from pipeline.sharding.jobs import (
    WORK,
    Plan,
    Write,
    all_results,
    claim_folder,
    differences,
    remove_leftovers,
    run_jobs,
    sole_writer,
)
from pipeline.sharding.part import Part
from pipeline.sharding.shard_writer import ShardResult, Tables
from pipeline.verify import damage

NOT_BAD = ("duplicate", "small", "empty", "audit", "spare")  # left out because it was asked for, or not needed


@dataclass(frozen=True)
class Kind:
    """What sets of different kinds do differently."""

    write: Write
    """One shard."""
    gather: Callable[[list[ShardResult], Place, Place], Tables]
    """(results, output folder, work folder): the shards' tables as those of the set."""


@dataclass(frozen=True, kw_only=True)
class MakeConfig:
    """How a set is made, whatever is in it."""

    max_bad: float = 0.01
    """Share of sources that may be unreadable or unsafe."""
    workers: int = 1
    part: Part = field(default_factory=Part)
    finish: bool = False
    """Write the index of a set whose parts are all there."""


def make_set(plan: Plan, kind: Kind, out: Place, config: MakeConfig) -> Index | None:
    """Write the shards of a plan, or of this part of it, and the index; None where this was one part of several.

    Goes on where a stopped run of the same command was. Raises BadInput where `out` holds anything else, where no
    source can be read, or where more than the share `max_bad` of them are bad.
    """
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
            run_jobs(plan, kind.write, out, config.workers, config.part)
            if config.part.count > 1:
                return None
        results = all_results(plan, out)
        if config.finish:
            refuse_damage(out, [result.entry for result in results if result.entry.samples])
        index = collect(plan, kind, results, config.max_bad, out)
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


def collect(plan: Plan, kind: Kind, results: list[ShardResult], max_bad: float, out: Place) -> Index:
    """Gather the shards' results into the tables and index.json, or refuse a set with too many bad sources."""
    left_out = plan.left_out + [entry for result in results for entry in result.left_out]
    samples = sum(result.entry.samples for result in results)
    refuse_bad_sources(left_out, samples, int(plan.starts[-1]) + len(plan.left_out), max_bad, out)
    filled = [result for result in results if result.entry.samples]
    tables = kind.gather(filled, out, out / WORK)
    index = Index(
        shards=[result.entry for result in filled],
        samples_sha256=tables.samples_sha256,
        options=plan.options(),
        versions=library_versions("n2n", "pillow", "numpy", "imagecodecs", "tifffile"),
        statistics=tables.statistics,
        left_out=left_out,
        members_sha256=tables.members_sha256,
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
