"""Training on a set elsewhere: the numbers of the set here, and a clear end where it cannot go on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.index import load_index
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sources.listing import list_sources
from tests.conftest import Run
from tests.launch.cluster import OPTIONS, Cluster
from tests.pipeline.servers import Site, served

pytest.importorskip("aiohttp")

RANKS = 2


def metrics(run: Path) -> list[dict[str, Any]]:
    """What does not depend on the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name.startswith(("images", "train", "val"))} for line in lines
    ]


def spelled(options: tuple[str, ...], *more: str) -> list[str]:
    return [option.removeprefix("--") for option in (*options, *more)]


def test_two_ranks_train_as_on_the_set_here(
    run_verb: Run, tiny: tuple[str, ...], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut and slow connections, damaged bytes and a cache of half of the set change no number; validation too."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    options = (*tiny, f"--data.validation={shards}", "--loader.window=1")
    here = run_verb("launch.train", *spelled(options, "--run=here"), ranks=RANKS)
    assert here.returncode == 0, here.stderr
    largest = max(path.stat().st_size for path in shards.glob("*.tar"))
    for workers in (0, 1):
        cache = tmp_path / f"cache{workers}"
        with served(shards) as site:
            site.faults = [*[0] * 12, -100, "flip", 503, "short"]
            site.delay_s = 0.01
            there = (f"--data.train={site.url}", f"--data.validation={site.url}", f"--run=there{workers}")
            room = (f"--data.cache.folder={cache}", f"--data.cache.most_gb={2 * largest / 1e9}")
            more = (*there, *room, f"--loader.workers={workers}")
            done = run_verb("launch.train", *spelled(options, *more), ranks=RANKS)
            assert done.returncode == 0, done.stderr
            assert site.faults == []
        assert f"pictures of {site.url}" in done.stderr
        about = json.loads((tmp_path / f"there{workers}/about.json").read_text())["starts"][0]
        assert about["data"]["train"] == site.url
        assert metrics(tmp_path / f"there{workers}") == metrics(tmp_path / "here") != []
        assert sum(path.stat().st_size for path in cache.glob("*/*.tar")) <= 2 * largest


@pytest.mark.faults
def test_with_lanes_each_node_reads_its_part(
    run_verb: Run, child_environment: dict[str, str], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    """Two nodes with a cache each, of a quarter of the set, over two epochs; without lanes either reads all of it.

    And the losses are those of one process with the set on its disk and other workers.
    """
    (tmp_path / "blocks").mkdir()
    for number in range(200):
        blocks = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(tmp_path / f"blocks/{number}.png")
    plan = PlanConfig(shard_mb=0.002)
    shard(list_sources([tmp_path / "blocks"]), tmp_path / "set", ShardConfig(plan=plan))
    index = load_index(tmp_path / "set")
    number, room = len(index.shards), sum(sorted(entry.bytes for entry in index.shards)[-8:]) / 1e9
    assert 20 <= number <= 30
    options = (*tiny, "--train.batch=8", "--loader.window=1", "--loader.prefetch=1")
    images = "train.images=400"
    losses, read = {}, {}
    for lanes in (1, 4):
        folder = tmp_path / f"lanes{lanes}"
        folder.mkdir()
        nodes = Cluster(folder, child_environment | {"no_proxy": "127.0.0.1"}, options, "2")
        try:
            with served(tmp_path / "set") as one, served(tmp_path / "set") as other:
                for name, site in (("one", one), ("other", other)):
                    cache = (f"data.cache.folder={folder / name}", f"data.cache.most_gb={room}")
                    nodes.start(options=(f"data.train={site.url}", *cache, f"loader.lanes={lanes}", images))
                losses[lanes] = nodes.finish()
                read[lanes] = [fetched(site) / number for site in (one, other)]
        finally:
            nodes.kill()
    words = spelled(options, *OPTIONS, f"--data.train={tmp_path / 'set'}", "--loader.lanes=4", "--run=here")
    done = run_verb("launch.train", *words, images, "loader.workers=3")
    assert done.returncode == 0, done.stderr
    here = {line["images"]: line["train/loss"] for line in metrics(tmp_path / "here") if "train/loss" in line}
    assert [here[at] for at in losses[4]] == pytest.approx(list(losses[4].values()), rel=1e-3)
    assert list(losses[1].values()) != pytest.approx(list(losses[4].values()), rel=1e-3)
    assert min(read[1]) > 1.8
    assert max(read[4]) < 1.4, "twice a half, shards that lanes share, and what is fetched ahead"


def fetched(site: Site) -> int:
    """How often a shard was sent, each in one part."""
    return sum(count for name, count in site.bodies.items() if name.endswith(".tar"))


@pytest.mark.parametrize("ranks", [0, RANKS])
def test_a_shard_that_cannot_be_had_ends_the_run(
    run_verb: Run,
    tiny: tuple[str, ...],
    shards: Path,
    flip_bit: Callable[[Path, int], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ranks: int,
) -> None:
    """With the shard, the reason and, among several, the rank."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = Path(shutil.copytree(shards, tmp_path / "set"))
    for path in folder.glob("*.tar"):
        flip_bit(path, 600)
    with served(folder) as site:
        options = spelled(tiny, f"--data.train={site.url}", f"--data.cache.folder={tmp_path}/cache", "--run=x")
        done = run_verb("launch.train", *options, ranks=ranks)
    if ranks:  # torchrun adds its own traceback, and what its ranks ended with
        assert done.returncode != 0
        assert "exitcode  : 2" in done.stderr
        assert f"of {ranks}: a file of the set is damaged" in done.stderr
    else:
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert f"where:  {site.url}/shard-0000" in done.stderr
    assert "SHA-256" in done.stderr
    assert left_in(tmp_path / "cache") == []


def left_in(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.suffix in (".tar", ".partial")]


def test_a_cache_that_is_too_small_is_refused(
    run_verb: Run, tiny: tuple[str, ...], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(shards) as site:
        options = spelled(tiny, f"--data.train={site.url}", f"--data.cache.folder={tmp_path}/cache", "--run=x")
        done = run_verb("launch.train", *options, "data.cache.most_gb=1e-5")
    assert done.returncode == 2
    assert "error: the cache is too small" in done.stderr
    assert "Traceback" not in done.stderr
