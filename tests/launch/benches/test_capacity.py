"""`n2n bench capacity`: arithmetic that can be done by hand, on numbers that were measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from launch.benches.capacity import Measured, need
from pipeline.reader import ShardSet


def test_the_arithmetic_by_hand() -> None:
    """Eight ranks of 1,000 images/s on each of two nodes; 100 kB a picture; 2 ms of a processor an image."""
    measured = Measured(rate=1000, pair_s=0.002, picture_bytes=100e3, pictures=1_600_000, parameters=1_000_000)
    two = need(measured, nodes=2, ranks=8, batch=16, crops=1, images=57_600_000)
    assert two.images_per_s == 16_000
    assert two.read_mb_per_s == pytest.approx(800)
    assert two.loader_cores == pytest.approx(16)
    assert two.exchange_mb_per_s == pytest.approx(4 * 1000 / 16)  # 4 MB a step, 62.5 steps a second
    assert two.epoch_min == pytest.approx(100 / 60)
    assert two.run_h == pytest.approx(1)
    alone = need(measured, nodes=1, ranks=8, batch=16, crops=4, images=57_600_000)
    assert (alone.exchange_mb_per_s, alone.read_mb_per_s) == (0, pytest.approx(200))
    assert alone.epoch_min == pytest.approx(8 * 100 / 60), "four crops of each picture on half as many nodes"


def test_measured_here_and_given(run_verb: Any, shards: Path, tmp_path: Path) -> None:
    options = ("--data", shards, "--crop", 32, "--batch", 4, "--seconds", 0.05, "--repeats", 1, "--json", "out.json")
    done = run_verb("launch.cli", "bench", "capacity", *options, "--nodes", 1, 3)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["measured"]["pictures"] == len(ShardSet(shards)) == 12
    assert document["measured"]["parameters"] == 991_203
    assert document["measured"]["rate"] > 0
    assert 1e-5 < document["measured"]["pair_s"] < 0.5
    assert [one["nodes"] for one in document["needs"]] == [1, 3]
    done = run_verb("launch.cli", "bench", "capacity", *options, "--rate", 5000, "--ranks", 8, "--nodes", 1)
    assert done.returncode == 0, done.stderr
    assert "40,000.0" in done.stdout
    assert "5000.0 images/s of 32 x 32, as given; 8 rank(s) a node" in done.stdout
