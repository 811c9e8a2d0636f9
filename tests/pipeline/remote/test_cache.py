"""Sets elsewhere: the batches of the set here, in bounded space, whatever servers and other processes do."""

import itertools
import multiprocessing
import os
import pickle
import re
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.index import load_index
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.pairs import AnyPair, PairsConfig
from pipeline.reader import ShardSet
from pipeline.realisations import RealisationSet
from pipeline.remote import cache as shard_cache
from pipeline.remote import errors as remote_errors
from pipeline.remote.cache import CacheConfig, ShardCache, locked, open_files
from pipeline.remote.store import sends_ranges
from pipeline.shard import ShardConfig, shard
from pipeline.shard_files import ShardFiles
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources
from tests.pipeline.servers import Site, served

pytest.importorskip("aiohttp")

Cache = Callable[..., ShardCache]
WINDOW = 2


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_errors, "WAIT_S", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    sends_ranges.cache_clear()
    monkeypatch.setattr(shard_cache, "PART", 10_000)  # so that a shard is several


@pytest.fixture(scope="module")
def folder(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of decoded pictures in a dozen shards."""
    out = tmp_path_factory.mktemp("pixels") / "set"
    config = ShardConfig(plan=PlanConfig(shard_mb=0.004), storage=StorageConfig(store="pixels"))
    shard(list_sources([pictures]), out, config)
    assert len(load_index(out).shards) >= 8
    return out


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Iterator[Site]:
    with served(Path(shutil.copytree(folder, tmp_path / "served"))) as site:
        yield site


@pytest.fixture
def cache(site: Site, tmp_path: Path) -> Cache:
    def make(most_bytes: int = 0, window: int | None = WINDOW) -> ShardCache:
        config = CacheConfig(folder=str(tmp_path / "cache"), most_gb=most_bytes / 1e9)
        files = open_files(site.url, config, window)
        assert isinstance(files, ShardCache)
        return files

    return make


def bytes_of(files: ShardFiles) -> list[bytes]:
    opened = ShardSet(files)
    return [opened.pixels(sample).tobytes() for sample in range(len(opened))]


def two_windows(folder: Path, window: int = WINDOW) -> int:
    return sum(sorted((entry.bytes for entry in load_index(folder).shards), reverse=True)[: 2 * window])


def batches(files: ShardFiles, workers: int, count: int = 12) -> list[AnyPair]:
    config = LoaderConfig(workers=workers, prefetch=2, window=WINDOW)
    pairs = open_pairs(files, PairsConfig(crop=16), CorruptionConfig(name="gaussian"), 0, config)
    loaded = load_pairs(pairs, BatchShare(4, 0, 1), config, start=0)
    taken = [type(batch)(*(part.clone() for part in batch)) for batch, _ in itertools.islice(loaded, count)]
    loaded.close()
    return taken


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("small", [False, True])
def test_the_batches_are_those_of_the_set_here(folder: Path, cache: Cache, workers: int, small: bool) -> None:
    """Over four epochs, also where only some of the shards have room."""
    files = cache(two_windows(folder) if small else 0)
    assert files.keeps != small
    for here, there in zip(batches(ShardFiles(folder), 0), batches(files, workers), strict=True):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(here, there, strict=True))
    assert small == (len(list(files.folder.glob("*.tar"))) < len(files.index.shards))


@pytest.mark.parametrize("fault", [503, 429, -100, "flip", "short"])
def test_what_passes_is_tried_again(folder: Path, site: Site, cache: Cache, fault: int | str) -> None:
    files = cache()
    site.faults = [0, fault, 0, 0, fault, fault, 0]
    assert bytes_of(files) == bytes_of(ShardFiles(folder))
    assert site.faults == []


def test_a_slow_server_is_waited_for(folder: Path, site: Site, cache: Cache) -> None:
    files = cache()
    site.delay_s = 0.1
    assert bytes_of(files) == bytes_of(ShardFiles(folder))


def test_also_what_is_opened_first_is_tried_again(folder: Path, site: Site, cache: Cache) -> None:
    site.faults = [-50, -50, 503, "short"]
    assert bytes_of(cache()) == bytes_of(ShardFiles(folder))


def left(files: ShardCache) -> list[str]:
    return sorted(p.name for p in files.folder.iterdir() if p.suffix in (".tar", ".partial"))


def test_a_server_that_sends_whole_files_only(folder: Path, site: Site, cache: Cache) -> None:
    site.ranges = False
    assert bytes_of(cache()) == bytes_of(ShardFiles(folder))


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "refused"])
def test_what_stays_wrong_ends_with_the_shard_and_the_reason(
    site: Site, cache: Cache, flip_bit: Callable[[Path, int], None], damage: str
) -> None:
    files = cache()
    path = site.folder / files.index.shards[0].name
    if damage == "flipped":
        flip_bit(path, 700)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "missing":
        path.unlink()
    else:
        site.refuse = 403
    told = {"flipped": "damaged", "cut": "damaged", "missing": "missing", "refused": "access denied"}[damage]
    with pytest.raises(BadInput, match=rf"{told}[^$]*{site.url}/{path.name}"):
        files.open(0)
    assert left(files) == []


def test_a_server_that_is_gone_is_told(site: Site, cache: Cache) -> None:
    files = cache()
    site.always = 503
    with pytest.raises(BadInput, match=rf"cannot be reached[^$]*{files.index.shards[1].name}[^$]*6 tries"):
        files.open(1)
    assert left(files) == []


def test_no_set_there(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a finished shard set"):
        open_files(f"{site.url}/nothing", CacheConfig(folder=str(tmp_path / "cache")))
    (site.folder / "samples.npy").unlink()
    with pytest.raises(BadInput, match=r"missing[^$]*samples\.npy"):
        open_files(site.url, CacheConfig(folder=str(tmp_path / "cache")))


def test_a_cache_without_room_for_two_windows_is_refused(folder: Path, cache: Cache) -> None:
    cache(two_windows(folder))
    with pytest.raises(BadInput, match="two windows of 2"):
        cache(two_windows(folder) - 1)
    with pytest.raises(BadInput, match="the set"):
        cache(two_windows(folder), window=0)
    with pytest.raises(BadInput, match="the largest shard"):
        cache(1, window=None)


def test_a_machine_needs_room_for_its_lanes(site: Site, folder: Path, tmp_path: Path) -> None:
    least = two_windows(folder, 3)
    for bytes_there, lanes in ((least, 3), (least - 1, 2)):
        open_files(site.url, CacheConfig(folder=str(tmp_path / "cache"), most_gb=bytes_there / 1e9), 1, lanes)
    with pytest.raises(BadInput, match="two windows of 1 in each of this machine's 3 lanes"):
        open_files(site.url, CacheConfig(folder=str(tmp_path / "cache"), most_gb=(least - 1) / 1e9), 1, 3)
    with pytest.raises(ValueError, match="most_gb"):
        CacheConfig(most_gb=-1)


def test_a_place_that_cannot_be_written_to_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="the disk refused"):
        open_files(site.url, CacheConfig(folder=str(tmp_path / "file" / "cache")))


def test_a_disk_that_is_full_is_told(cache: Cache) -> None:
    files = cache()

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(BadInput, match=r"the disk refused[^$]*shard-000000\.tar"):
            files.open(0)

    process = forked(fill)
    process.join(60)
    assert process.exitcode == 0
    assert left(files) == []


def test_a_set_that_was_changed_there_is_another(site: Site, cache: Cache, pictures: Path, tmp_path: Path) -> None:
    """Its shards have the same names."""
    before = cache()
    bytes_of(before)
    shutil.rmtree(site.folder)
    shard(list_sources([pictures / "class0"]), site.folder, ShardConfig(plan=PlanConfig(shard_mb=0.03)))
    after = cache()
    assert after.folder != before.folder
    assert bytes_of(after) == bytes_of(ShardFiles(site.folder))


def test_a_cached_shard_that_was_cut_is_fetched_again(folder: Path, cache: Cache) -> None:
    files = cache()
    os.close(files.open(0))
    files.path(0).write_bytes(b"")
    assert bytes_of(files) == bytes_of(ShardFiles(folder))


def test_what_is_needed_last_makes_room(cache: Cache, folder: Path) -> None:
    """And no more of it than must."""
    files = cache(two_windows(folder))
    size = [entry.bytes for entry in files.index.shards]
    here = [number for number in range(len(size)) if sum(size[: number + 1]) <= files.most_bytes]
    *others, new = [number for number in range(len(size)) if number not in here]
    for number in here:
        os.close(files.open(number))
    assert [files.path(number).exists() for number in range(len(size))] == [
        number in here for number in range(len(size))
    ]
    files.need = [new, *others, *here[::-1]]
    files.most_bytes = sum(size[number] for number in here)
    os.close(files.open(new))
    gone = [number for number in here if not files.path(number).exists()]
    assert gone == here[: len(gone)]
    assert sum(size[number] for number in gone) >= size[new] > sum(size[number] for number in gone[:-1])


def test_what_is_fetched_ahead_takes_no_room_of_what_is_needed_sooner(cache: Cache, folder: Path) -> None:
    files = cache(two_windows(folder))
    for number in files.need:
        files.fetch_ahead(number)
    here = {number for number in files.need if files.path(number).exists()}
    assert set(files.ahead()) <= here != set(files.need)
    files.need = files.need[::-1]
    for number in files.need:
        files.fetch_ahead(number)
    here = {number for number in files.need if files.path(number).exists()}
    assert set(files.ahead()) <= here != set(files.need)


def on_disk(files: ShardCache, processes: list[int]) -> int:
    """Bytes of shards in the cache, also of those that have no name any more but are open or mapped."""
    found = {}
    for path in [*files.folder.glob("*.tar"), *files.folder.glob("*.partial")]:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found[status.st_ino] = status.st_size
    size = {entry.name: entry.bytes for entry in files.index.shards}
    for process in processes:
        try:
            for line in Path(f"/proc/{process}/maps").read_text().splitlines():
                unlinked = re.search(rf" (\d+) +{re.escape(str(files.folder))}/(\S+\.tar) \(deleted\)", line)
                if unlinked:
                    found[int(unlinked[1])] = size[unlinked[2]]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sum(found.values())


@pytest.mark.parametrize("closes", [True, False])
def test_the_bound_holds_while_workers_map_what_goes(folder: Path, cache: Cache, closes: bool) -> None:
    """Looked at from outside, again and again; workers that kept their maps would break it."""
    files = cache(two_windows(folder))
    files.keeps = not closes
    config = LoaderConfig(workers=2, prefetch=2, window=WINDOW)
    pairs = open_pairs(files, PairsConfig(crop=16), CorruptionConfig(name="gaussian"), 0, config)
    most, ends = [0], threading.Event()

    def watch() -> None:
        while not ends.is_set():
            children = [child.pid for child in multiprocessing.active_children() if child.pid]
            most.append(on_disk(files, [os.getpid(), *children]))

    loaded = load_pairs(pairs, BatchShare(4, 0, 1), config, start=0)
    next(loaded)
    watching = threading.Thread(target=watch)
    watching.start()
    for _ in range(60):
        next(loaded)
        time.sleep(0.01)
    ends.set()
    watching.join()
    loaded.close()
    assert max(most) > files.most_bytes / 2
    assert (max(most) <= files.most_bytes) == closes


def forked(function: Callable[[], object]) -> "multiprocessing.process.BaseProcess":
    process = multiprocessing.get_context("fork").Process(target=function)
    process.start()
    return process


def test_two_processes_fetch_every_shard_once(folder: Path, site: Site, cache: Cache) -> None:
    files = cache()
    site.bodies.clear()
    site.delay_s = 0.02
    processes = [forked(lambda: bytes_of(pickle.loads(pickle.dumps(files)))) for _ in range(2)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    parts = {f"/{entry.name}": -(-entry.bytes // shard_cache.PART) for entry in files.index.shards}
    assert max(parts.values()) > 1
    probes = {name for name, count in parts.items() if count > 1}  # whether the server sends parts at all
    assert site.bodies == {name: count + (name in probes) for name, count in parts.items()}
    assert bytes_of(files) == bytes_of(ShardFiles(folder))


def test_two_processes_share_a_cache_that_is_too_small_for_the_set(folder: Path, cache: Cache) -> None:
    """Going through it in opposite directions, they take each other's room, and go on."""
    files = cache(two_windows(folder, 1), window=1)
    wanted = bytes_of(ShardFiles(folder))

    def read(step: int) -> None:
        opened = ShardSet(files)
        for _ in range(3):
            for sample in range(len(opened))[::step]:
                assert opened.pixels(sample).tobytes() == wanted[sample]

    processes = [forked(lambda step=step: read(step)) for step in (1, -1, 1)]  # type: ignore[misc]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert on_disk(files, []) <= files.most_bytes


def test_what_a_killed_process_leaves_is_removed(folder: Path, site: Site, cache: Cache) -> None:
    files = cache(two_windows(folder))
    site.delay_s = 60
    process = forked(lambda: files.open(0))
    partial = files.folder / f"{files.index.shards[0].name}.partial"
    for _ in range(1000):
        if partial.exists():
            break
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert partial.exists()
    site.delay_s = 0
    os.close(files.open(1))  # another shard: room is made, and what is left of the first is no longer counted
    assert not partial.exists()
    assert bytes_of(files) == bytes_of(ShardFiles(folder))
    assert not list(files.folder.glob("*.partial"))


def test_a_lock_is_held_against_threads_and_let_go(tmp_path: Path) -> None:
    with locked(tmp_path / "x") as mine, locked(tmp_path / "x", wait=False) as theirs:
        assert (mine, theirs) == (True, False)
    with locked(tmp_path / "x", wait=False) as mine:
        assert mine


def test_a_set_of_real_shots(scenes: Path, tmp_path: Path) -> None:
    here = RealisationSet(scenes)
    with served(scenes) as site:
        there = RealisationSet(open_files(site.url, CacheConfig(folder=str(tmp_path / "cache"))))
        for sample in range(len(here)):
            assert there.pixels(sample, "color", 1).tobytes() == here.pixels(sample, "color", 1).tobytes()
            assert there.about(sample) == here.about(sample)
