"""What comes next is fetched before it is asked for, by the processes that fork no more."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline.order import Order
from pipeline.remote.cache import CacheConfig, ShardCache, open_files
from pipeline.remote.look_ahead import LookAhead
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sources.listing import list_sources
from tests.pipeline.servers import served

pytest.importorskip("aiohttp")


def wait_for(condition: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def make(draws: Sequence[int], _into: object = ()) -> int:
    return len(draws)


def here(cache: ShardCache) -> set[int]:
    return {number for number in cache.need if cache.path(number).exists()}


@pytest.fixture
def folder(pictures: Path, tmp_path: Path) -> Path:
    shard(list_sources([pictures]), tmp_path / "set", ShardConfig(plan=PlanConfig(shard_mb=0.004)))
    return tmp_path / "set"


def test_the_next_windows_come_by_themselves(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as there is room; and when the draws go on, what comes after them."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(folder) as site:
        cache = open_files(site.url, CacheConfig(folder=str(tmp_path / "cache"), most_gb=6e-5), 1)
        assert isinstance(cache, ShardCache)
        counts = [entry.samples for entry in cache.index.shards]
        order = Order(5, counts, window=1)
        ahead = LookAhead(make, order, cache, [0], forks=False)
        for draw in (0, sum(counts) - 1):
            assert ahead([draw + 1, draw]) == 2
            _, _, shards = next(order.windows_from(0, order.row(draw)))
            assert cache.need[0] == shards[0]
            assert sorted(cache.need) == list(range(len(counts)))
            wanted = set(cache.ahead()) - ahead.unasked
            assert wait_for(lambda wanted=wanted: wanted <= here(cache))  # type: ignore[misc]
            assert 1 < len(wanted) < len(counts)


def test_of_lanes_only_those_of_this_machine_come(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever room there is: of this epoch and the next; windows are left lane by lane."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(folder) as site:
        cache = open_files(site.url, CacheConfig(folder=str(tmp_path / "cache")), 1)
        assert isinstance(cache, ShardCache)
        order = Order(4, [entry.samples for entry in cache.index.shards], window=1, lanes=4)
        ahead = LookAhead(make, order, cache, [2, 3], forks=False)
        mine = {s for lane in (2, 3) for _, _, shards in order.windows_from(lane, 0) for s in shards}
        ahead([2, 3])
        assert wait_for(lambda: mine <= here(cache))
        assert here(cache) == mine != set(cache.need) == set(range(len(cache.index.shards)))
        assert set(cache.need[:2]) == {shard for shards in ahead.here.values() for shard in shards}
        ahead([4 * ahead.until + 3])
        now = {lane: next(order.windows_from(lane, order.row(4 * order.length)))[2] for lane in (2, 3)}
        assert ahead.before
        ahead([4 * order.length + 3])
        assert ahead.here == now


def test_a_process_that_forks_fetches_nothing_ahead(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(folder) as site:
        cache = open_files(site.url, CacheConfig(folder=str(tmp_path / "cache")), 1)
        assert isinstance(cache, ShardCache)
        ahead = LookAhead(make, Order(0, [entry.samples for entry in cache.index.shards], 1), cache, [0], forks=True)
        threads = threading.active_count()
        ahead([0])
        assert threading.active_count() == threads
        child = os.fork()
        if not child:  # as a worker does
            ahead([0])
            os._exit(0 if wait_for(lambda: len(here(cache)) == len(cache.need)) else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_what_fails_ahead_is_left_to_who_needs_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(folder) as site:
        cache = open_files(site.url, CacheConfig(folder=str(tmp_path / "cache")), 1)
        assert isinstance(cache, ShardCache)
        (folder / cache.index.shards[2].name).unlink()
        ahead = LookAhead(make, Order(0, [entry.samples for entry in cache.index.shards], 1), cache, [0], forks=False)
        ahead([0])
        assert wait_for(lambda: len(here(cache)) == len(cache.need) - 1)
        assert ahead([1]) == 1
