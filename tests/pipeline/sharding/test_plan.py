"""Plans: pure functions of the listing, the options and a seed; flat in memory."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.sharding.plan import Plan, PlanConfig, make_plan
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import Sources


def listing(number: int, size: int = 1000) -> Sources:
    sources = Sources([Path("x")], [""])
    for position in range(number):
        sources.add(0, b"%d.jpg" % position, size + position % 7, None)
    return sources


def plan_of(sources: Sources, shard_mb: float = 0.05, seed: int = 0, **storage: object) -> Plan:
    config = StorageConfig(**storage)  # type: ignore[arg-type]
    return make_plan(sources, np.arange(len(sources)), PlanConfig(shard_mb=shard_mb, seed=seed), config, [])


def test_every_picture_is_in_one_shard_of_the_wanted_size() -> None:
    plan = plan_of(listing(1000))
    jobs = [plan.job(number) for number in range(plan.shards)]
    assert sorted(int(file.name[:-4]) for job in jobs for file in job.files) == list(range(1000))
    assert [job.first_key for job in jobs] == plan.starts[:-1].tolist()
    sizes = [sum(file.size for file in job.files) for job in jobs]
    assert all(48_000 < size <= 50_000 for size in sizes[:-1])


def test_a_picture_larger_than_a_shard_has_one_to_itself() -> None:
    plan = plan_of(listing(5, size=10**6))
    assert plan.starts.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_plan_changes_with_everything_that_decides_it() -> None:
    renamed = Sources([Path("x")], ["y"])
    for file in listing(100):
        renamed.add(0, file.name.encode(), file.size, None)
    plans = [
        plan_of(listing(100)),
        plan_of(listing(100), seed=1),
        plan_of(listing(100), shard_mb=0.06),
        plan_of(listing(101)),
        plan_of(listing(100, size=1001)),
        plan_of(listing(100), store="pixels"),
        plan_of(renamed),
    ]
    assert len({plan.sha256 for plan in plans}) == len(plans)
    assert plan_of(listing(100)).sha256 == plans[0].sha256


def test_where_sources_are_mounted_does_not_matter() -> None:
    moved = Sources([Path("elsewhere")], [""])
    for file in listing(100):
        moved.add(0, file.name.encode(), file.size, None)
    assert plan_of(moved).sha256 == plan_of(listing(100)).sha256


@pytest.mark.parametrize("shard_mb", [0.0, -1.0, float("nan")])
def test_an_impossible_shard_size_is_refused(shard_mb: float) -> None:
    with pytest.raises(BadInput, match="shard-mb"):
        PlanConfig(shard_mb=shard_mb)
