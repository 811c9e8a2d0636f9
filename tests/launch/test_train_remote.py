"""Training on a set that is elsewhere, with real processes and a real server."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.checkpoint import load_checkpoint
from pipeline.index import load_index
from tests.launch.test_train import metrics, without_times
from tests.pipeline.servers import Site, served

pytest.importorskip("aiohttp")


@pytest.fixture
def site(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(Path(shutil.copytree(shards, tmp_path / "served"))) as site:
        yield site


def test_two_ranks_train_from_a_server_as_from_a_folder(
    run_verb: Callable[..., Any], tiny: list[str], shards: Path, site: Site, tmp_path: Path
) -> None:
    largest = sorted((shard.bytes for shard in load_index(shards).shards), reverse=True)[:4]
    options = ["--loader.window=2", "--loader.workers=1", "--train.log_every_images=4"]
    there = [f"--data.train={site.url}", f"--data.validation={site.url}", f"--data.cache={tmp_path / 'cache'}"]
    there += [f"--data.cache_gb={sum(largest) / 1e9}"]
    for name, where in (("local", []), ("remote", there)):
        done = run_verb("launch.train", f"run={tmp_path / name}", *tiny, *options, *where, ranks=2)
        assert done.returncode == 0, done.stderr
    assert site.url in done.stderr
    ours, theirs = (
        [line for line in without_times(metrics(tmp_path / name)) if "train/loss" in line]
        for name in ("local", "remote")
    )
    assert ours == theirs
    document = load_checkpoint(tmp_path / "remote" / "checkpoints" / "000000000024.pt")
    assert document["config"]["data"]["train"] == site.url


def test_what_cannot_be_fetched_ends_all_ranks_with_one_message(
    run_verb: Callable[..., Any], tiny: list[str], site: Site, tmp_path: Path
) -> None:
    for path in site.folder.glob("*.tar"):
        path.unlink()
    there = [f"--data.train={site.url}", f"--data.cache={tmp_path / 'cache'}", "--data.validation="]
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, *there, ranks=2)
    assert done.returncode != 0
    assert done.stderr.count("a file of the set is missing") == 1
    assert "rank " in done.stderr.partition("a file of the set is missing")[0].rpartition("\n")[2]
    assert f"{site.url}/shard-0" in done.stderr
    alone = run_verb("launch.train", f"run={tmp_path / 'alone'}", *tiny, *there)
    assert alone.returncode == 2
    assert "Traceback" not in alone.stderr
