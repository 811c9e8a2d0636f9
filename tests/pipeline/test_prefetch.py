"""Batches sent ahead to a device: the same ones in the same order, each whole when it is used."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.inject import Inject
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.order import Order
from pipeline.pairs import Pair, PairDataset, PairsConfig
from pipeline.prefetch import Prefetch
from pipeline.reader import ShardSet
from pipeline.workers import Workers
from tests.pipeline.test_workers import bad_at_40, batches, first_draws, make, working

CPU = torch.device("cpu")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def until_ready(workers: Workers) -> None:
    deadline = time.monotonic() + 20
    while not workers.ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("pause", [False, True])
def test_batches_come_in_order_whether_they_are_ready_or_not(pause: bool) -> None:
    with working() as workers:
        ahead = Prefetch(workers.__next__, workers.ready, CPU)
        for number in range(12):
            if pause:
                until_ready(workers)
            assert first_draws(next(ahead))[0] == 8 * number
            assert ahead.ahead is not None or not pause or not number, "what is ready is sent before it is asked for"


@pytest.mark.parametrize("pause", [False, True])
def test_a_fault_is_raised_at_its_batch_even_where_it_is_known_before(pause: bool) -> None:
    with working(bad_at_40) as workers:
        ahead = Prefetch(workers.__next__, workers.ready, CPU)
        for number in range(5):
            assert first_draws(next(ahead))[0] == 8 * number
            if pause:
                time.sleep(0.1)
        with pytest.raises(BadInput, match="shard 3"):
            next(ahead)


def test_a_batch_that_is_there_does_not_wait_for_the_next_one(tmp_path: Path) -> None:
    def late(draws: Sequence[int], _into: object = ()) -> Pair:
        while 8 in draws and not (tmp_path / "go").exists():
            time.sleep(0.01)
        return make(draws)

    with working(late) as workers:
        ahead = Prefetch(workers.__next__, workers.ready, CPU)
        assert first_draws(next(ahead))[0] == 0
        assert not workers.ready()
        (tmp_path / "go").touch()
        assert first_draws(next(ahead))[0] == 8


def test_nobody_is_ready_without_workers() -> None:
    draws = batches()
    ahead = Prefetch(lambda: make(next(draws)), lambda: False, CPU)
    assert [first_draws(next(ahead))[0] for _ in range(3)] == [0, 8, 16]
    assert first_draws(make(next(draws)))[0] == 24, "none was taken that had not been asked for"


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("inject", ["worker", "device"])
def test_a_gpu_gets_the_pairs_of_the_cpu(shards: Path, inject: Inject, workers: int) -> None:
    opened = ShardSet(shards)
    order = Order(0, opened.samples_per_shard)
    pairs = PairDataset(opened, order, PairsConfig(crop=16), CorruptionConfig(), 0, inject)
    share, config = BatchShare(16, 0, 1), LoaderConfig(workers=workers)
    both = [load_pairs(pairs, share, config, start=0, device=device) for device in (CPU, torch.device("cuda"))]
    for (one, _), (other, _) in itertools.islice(zip(*both, strict=True), 30):
        assert other.source.is_cuda
        assert torch.allclose(one.source, other.source.cpu(), atol=0 if inject == "worker" else 1e-4)
        assert torch.allclose(one.target, other.target.cpu(), atol=0 if inject == "worker" else 1e-4)


@pytest.mark.gpu
@on_gpu
def test_a_batch_is_not_overwritten_while_a_gpu_still_computes_with_it() -> None:
    """The CPU runs far ahead of a GPU that is kept busy, and lets go of every batch at once."""

    def large(draws: Sequence[int]) -> Pair:
        rows = torch.tensor(draws, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 128, 128)
        return Pair(rows.clone(), -rows)

    with working(large, pin=True) as workers:
        ahead = Prefetch(workers.__next__, workers.ready, torch.device("cuda"))
        sums = []
        for _ in range(40):
            batch = next(ahead)
            torch.cuda._sleep(20_000_000)  # cycles: some 10 ms
            sums.append((batch.source.mean((1, 2, 3)), batch.target.mean((1, 2, 3))))
            del batch
    for number, (source, target) in enumerate(sums):
        assert source.tolist() == list(range(8 * number, 8 * number + 8))
        assert torch.equal(source, -target)
