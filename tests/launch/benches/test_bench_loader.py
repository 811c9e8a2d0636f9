"""The loader's benchmark times every stage of real pairs, and counts the workers' processors."""

import time
from pathlib import Path

import pytest

from launch.benches.loader import STAGES, cpu_seconds, measure, stage_seconds, told
from pipeline.corruption import CorruptionConfig
from pipeline.loader import LoaderConfig
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.reader import ShardSet
from tests.conftest import Run


@pytest.fixture
def dataset(shards: Path) -> PairDataset:
    opened = ShardSet(shards)
    order = Order(0, opened.samples_per_shard)
    return PairDataset(opened, order, PairsConfig(crop=16), CorruptionConfig(name="poisson"), 0)


def test_every_stage_is_timed_and_they_make_up_the_whole(dataset: PairDataset) -> None:
    stages = stage_seconds(dataset, 8, 0.5)
    assert list(stages) == list(STAGES)
    assert all(seconds > 0 for seconds in stages.values())
    began = time.process_time()
    for start in range(0, 160, 8):
        dataset.batch(range(start, start + 8))
    whole = (time.process_time() - began) / 160
    assert 0.3 < (sum(stages.values()) - stages["copy"]) / whole < 3, "nothing large is missing from the stages"


def test_workers_processors_are_counted(dataset: PairDataset) -> None:
    own = time.process_time()
    before = cpu_seconds()
    rate = measure(dataset, LoaderConfig(workers=1), 8, 1.0)
    assert rate.pairs_per_s > 0
    assert rate.cpu_s_per_1000 * rate.pairs_per_s / 1000 < 3, "more processors than there were"
    assert cpu_seconds() - before >= time.process_time() - own - 0.01
    assert rate.cpu_s_per_1000 > 0


def test_the_bound_is_told(dataset: PairDataset) -> None:
    out = told(dict.fromkeys(STAGES, 1e-3), {2: measure(dataset, LoaderConfig(workers=0), 4, 0.05)})
    assert "16.7%" in out
    assert "at best on" in out


def test_an_unknown_measurement_is_refused(run_verb: Run) -> None:
    done = run_verb("launch.cli", "bench", "everything")
    assert done.returncode == 2
    assert "loader or text or step" in done.stderr
