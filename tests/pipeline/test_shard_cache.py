"""Training sets elsewhere: the batches of a local set, whatever the connection does, in as little room as allowed."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import look_ahead, remote_errors, shard_cache
from pipeline.atomic import PARTIAL
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.order import Order
from pipeline.pairs import AnyPair, PairsConfig
from pipeline.reader import ShardSet
from pipeline.remote import Remote, place
from pipeline.remote_store import sends_ranges
from pipeline.shard import ShardConfig, shard
from pipeline.shard_cache import ShardCache, nearby
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources
from tests.pipeline.servers import Site, served

pytest.importorskip("aiohttp")

ALL = 1 << 40


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_errors, "WAIT_S", 0.001)
    monkeypatch.setattr(look_ahead, "LOOK_S", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    sends_ranges.cache_clear()


@pytest.fixture
def local(shards: Path, tmp_path: Path) -> Path:
    """A set that a test may damage."""
    return Path(shutil.copytree(shards, tmp_path / "set"))


@pytest.fixture
def site(local: Path) -> Iterator[Site]:
    with served(local) as site:
        yield site


def cache_of(site: Site, tmp_path: Path, most_bytes: int = 0) -> ShardCache:
    return ShardCache(Remote(site.url), str(tmp_path / "cache"), most_bytes)


def bytes_in(cache: ShardCache) -> int:
    """Of shards and of those that are coming, at a moment when nothing is deleted and nothing begun."""
    sizes: dict[str, int] = {}
    with cache._locked("room"):
        for path in cache.folder.glob("*.tar*"):
            with contextlib.suppress(FileNotFoundError):  # renamed since it was listed
                sizes[path.name.removesuffix(PARTIAL)] = path.stat().st_size
    return sum(sizes.values())


@contextmanager
def watched(cache: ShardCache) -> Iterator[Any]:
    """The most bytes that there have been, looked at by a process whose locks no worker inherits."""
    context = multiprocessing.get_context("fork")
    most, done = context.Value("q", 0), context.Event()

    def watch() -> None:
        while not done.wait(0.001):
            most.value = max(most.value, bytes_in(cache))

    process = context.Process(target=watch, daemon=True)
    process.start()
    yield most
    done.set()
    process.join(30)


def largest(cache: ShardCache, count: int) -> int:
    return sum(sorted((shard.bytes for shard in cache.index.shards), reverse=True)[:count])


def batches(where: Path | ShardCache, count: int, noise: Any = "gaussian", **loader: int) -> list[AnyPair]:
    config = LoaderConfig(**loader)  # type: ignore[arg-type]
    dataset = open_pairs(where, PairsConfig(crop=16), CorruptionConfig(name=noise), 3, config)
    with closing(load_pairs(dataset, BatchShare(4, 0, 1), config, start=0)) as pairs:
        return [type(pair)(*(part.clone() for part in pair)) for pair, _ in islice(pairs, count)]


def equal(ones: list[AnyPair], others: list[AnyPair]) -> bool:
    pairs = zip(ones, others, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("store", ["source", "pixels"])
def test_the_same_batches_as_of_the_local_set_within_the_bound(
    pictures: Path, tmp_path: Path, workers: int, store: str
) -> None:
    config = ShardConfig(plan=PlanConfig(shard_mb=0.015), storage=StorageConfig(store=store))  # type: ignore[arg-type]
    shard(list_sources([pictures]), tmp_path / "set", config)
    with served(tmp_path / "set") as site:
        cache = cache_of(site, tmp_path)
        cache.most_bytes = bound = largest(cache, 4)
        assert bound < sum(shard.bytes for shard in cache.index.shards), "all would fit"
        with watched(cache) as most:
            got = batches(cache, 20, workers=workers, window=2)
    assert equal(got, batches(tmp_path / "set", 20, workers=workers, window=2))
    assert 0 < most.value <= bound
    gone = {shard.name for shard in cache.index.shards} - cache.present()
    assert gone, "nothing was ever deleted"


def test_real_shots_and_renders_can_be_elsewhere_as_well(scenes: Path, tmp_path: Path) -> None:
    with served(scenes) as site:
        assert equal(batches(cache_of(site, tmp_path), 6, "none"), batches(scenes, 6, "none"))


def test_connections_that_drop_delay_and_refuse_cost_nothing_but_time(
    local: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_cache, "PART", 5000)
    site.faults = [-100, 503, -1]
    site.delay_s = 0.005
    cache = cache_of(site, tmp_path)
    for number, entry in enumerate(cache.index.shards):
        site.faults = [-1, 503, -4000, 429]
        assert cache.path(number).read_bytes() == (local / entry.name).read_bytes()
    assert not list(cache.folder.glob(f"*{PARTIAL}"))


def test_a_server_without_ranges_sends_shards_whole(
    local: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_cache, "PART", 5000)
    site.ranges = False
    assert cache_of(site, tmp_path).path(0).read_bytes() == (local / "shard-000000.tar").read_bytes()


def test_damage_that_stays_is_told_with_the_shard_and_nothing_of_it_is_kept(
    local: Path, site: Site, tmp_path: Path
) -> None:
    cache = cache_of(site, tmp_path)
    name = cache.index.shards[1].name
    data = bytearray((local / name).read_bytes())
    data[700] ^= 1
    (local / name).write_bytes(data)
    with pytest.raises(BadInput, match=rf"(?s)a file of the set is damaged.*{name}.*SHA-256 \w+, 3 times"):
        cache.path(1)
    (local / name).write_bytes(data[:-1000])
    with pytest.raises(BadInput, match="damaged"):
        cache.path(1)
    (local / name).unlink()
    with pytest.raises(BadInput, match=rf"(?s)a file of the set is missing.*{name}"):
        cache.path(1)
    assert not cache.present()
    assert not list(cache.folder.glob(f"*{PARTIAL}"))
    with pytest.raises(BadInput, match=name):
        batches(cache, 20, workers=1, window=1)


def test_a_store_that_stays_away_ends_the_training_with_its_address(site: Site, tmp_path: Path) -> None:
    cache = cache_of(site, tmp_path)
    site.always = 500
    with pytest.raises(BadInput, match=rf"(?s)cannot be reached, or keeps failing.*{site.url}"):
        batches(cache, 1, workers=0, window=1)


def test_what_is_no_set_and_what_does_not_fit_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a finished shard set"):
        ShardCache(Remote(f"{site.url}/elsewhere"), str(tmp_path / "cache"))
    cache = cache_of(site, tmp_path)
    cache.most_bytes = largest(cache, 4) - 1
    with pytest.raises(BadInput, match=r"data\.cache_gb"):
        batches(cache, 1, workers=0, window=2)
    cache.most_bytes = largest(cache, 4)
    assert batches(cache, 1, workers=0, window=2)


def test_another_set_at_the_same_address_is_another_set(
    pictures: Path, local: Path, site: Site, tmp_path: Path
) -> None:
    first = cache_of(site, tmp_path)
    first.path(0)
    shutil.rmtree(local)
    shard(list_sources([pictures / "class0"]), local, ShardConfig())
    second = cache_of(site, tmp_path)
    assert second.folder != first.folder
    assert equal(batches(second, 3), batches(local, 3))


def reader(cache: ShardCache, start: "multiprocessing.synchronize.Barrier") -> None:
    start.wait()
    for number in range(len(cache.index.shards)):
        cache.path(number)


def test_two_processes_fetch_every_shard_once(site: Site, tmp_path: Path) -> None:
    cache, context = cache_of(site, tmp_path), multiprocessing.get_context("fork")
    site.asked.clear()
    site.delay_s = 0.02
    barrier = context.Barrier(2)
    processes = [context.Process(target=reader, args=(cache, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    tars = sorted(name for name in site.asked if name.endswith(".tar"))
    # One byte of each is asked for as well, once a process, to see whether the server sends ranges.
    assert {name: tars.count(name) for name in tars}.keys() == cache.shards.keys() == cache.present()
    assert all(tars.count(name) <= 3 for name in tars)


def test_what_a_killed_process_leaves_is_taken_over(local: Path, site: Site, tmp_path: Path) -> None:
    cache, context = cache_of(site, tmp_path), multiprocessing.get_context("fork")
    cache.most_bytes = largest(cache, 2)
    site.delay_s = 1000
    process = context.Process(target=cache.path, args=(0,), daemon=True)
    process.start()
    partial = cache.folder / f"shard-000000.tar{PARTIAL}"
    deadline = time.monotonic() + 30
    while not partial.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert cache.fetch(0, wait=False) is False, "another process is at it"
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    site.delay_s = 0
    assert partial.exists()
    cache.path(1)
    assert not partial.exists(), "room for what nobody brings"
    assert cache.path(0).read_bytes() == (local / "shard-000000.tar").read_bytes()


def test_what_is_open_stays_whole_when_it_is_deleted_and_is_let_go_with_the_next_shard(
    local: Path, site: Site, tmp_path: Path
) -> None:
    cache = cache_of(site, tmp_path)
    shards, here = ShardSet(cache), ShardSet(local)
    shards.pixels(0)
    first = cache.path(0)
    first.unlink()
    assert np.array_equal(shards.pixels(0), here.pixels(0)), "read through the open file"
    assert first in shards._descriptors
    shards.pixels(len(shards) - 1)
    assert first not in shards._descriptors
    assert np.array_equal(shards.pixels(0), here.pixels(0)), "fetched again"


def test_the_next_window_is_fetched_before_it_is_needed(site: Site, tmp_path: Path) -> None:
    cache = cache_of(site, tmp_path)
    config = LoaderConfig(workers=0, window=1)
    dataset = open_pairs(cache, PairsConfig(crop=16), CorruptionConfig(), 3, config)
    with closing(load_pairs(dataset, BatchShare(1, 0, 1), config, start=0)) as pairs:
        next(pairs)
        soon = {cache.index.shards[number].name for number in cache.soon()}
        deadline = time.monotonic() + 30
        while cache.present() != soon:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert len(soon) == 2


def test_shards_are_ranked_by_the_draw_that_needs_them_next() -> None:
    order = Order(5, [3, 4, 2, 5, 1, 3], window=2)
    of = np.repeat(np.arange(6), order.counts)
    for draw in range(2 * order.total):
        upcoming = order.upcoming_shards(draw)
        assert sorted(upcoming) == list(range(6))
        needed = of[order.samples(range(draw, draw + 2 * order.total))]
        first = [int(np.flatnonzero(needed == shard)[0]) for shard in upcoming[2:]]
        windows = [(draw % order.total + number) // order.total for number in first]
        assert windows == sorted(windows), "this epoch's before the next one's"
        assert needed[0] in upcoming[:2], "the window of the draw itself comes first"


def test_addresses_and_folders() -> None:
    assert nearby(place("some/folder")) == Path("some/folder")
    with pytest.raises(BadInput, match="not an address"):
        place("ftp://server/set")
