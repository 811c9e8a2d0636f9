"""Worker processes: their faults are told, their death is seen, and none outlives the process that trains."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.pairs import Pair
from pipeline.workers import HELD, Workers
from tests.conftest import ROOT, environment

BATCH = 8
Into = Sequence[NDArray[np.float32]]


def make(draws: Sequence[int], _into: Into = ()) -> Pair:
    rows = torch.tensor(draws, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return Pair(rows.clone(), -rows)


def batches() -> Iterator[Sequence[int]]:
    return (range(start, start + BATCH) for start in itertools.count(0, BATCH))


@contextmanager
def working(how: Callable[..., object] = make, count: int = 2, **options: int) -> Iterator[Workers]:
    workers = Workers(how, batches(), count, 2, **options)  # type: ignore[arg-type]
    try:
        yield workers
    finally:
        workers.close()


def take(workers: Workers, count: int) -> None:
    for _ in range(count):
        next(workers)


def first_draws(batch: Pair) -> list[int]:
    return [int(value) for value in batch.source[:, 0, 0, 0]]


@pytest.mark.parametrize(("count", "lanes"), [(1, 1), (2, 1), (3, 1), (2, 64), (3, 64), (16, 64)])
def test_batches_come_in_order_and_whole(count: int, lanes: int) -> None:
    with working(count=count, lanes=lanes) as workers:
        for number in range(12):
            assert first_draws(next(workers)) == list(range(number * BATCH, (number + 1) * BATCH))


def test_batches_that_are_kept_are_not_overwritten() -> None:
    with working() as workers:
        kept = [next(workers) for _ in range(20)]
    assert [first_draws(batch)[0] for batch in kept] == list(range(0, 160, BATCH))


def test_batches_that_are_let_go_share_few_slots() -> None:
    with working() as workers:
        places = set()
        for _ in range(40):
            batch = next(workers)
            places.add(batch.source.data_ptr())
        assert len(places) <= 2 * 2 + HELD


def who_makes(draws: Sequence[int], _into: Into = ()) -> Pair:
    rows = torch.full((len(draws), 1, 1, 1), float(os.getpid()), dtype=torch.float64)
    return Pair(rows, rows)


def test_by_lanes_the_same_worker_has_the_same_draws() -> None:
    with working(who_makes, lanes=64) as workers:
        makers = torch.cat([next(workers).source.flatten() for _ in range(32)]).view(4, 64)
        assert {int(one) for one in makers.flatten()} == {process.pid for process in workers.processes}
        assert all(torch.equal(makers[0], makers[turn]) for turn in range(4))


def in_place(draws: Sequence[int], into: Into = ()) -> Pair:
    """The source where it is to be, unless it is to be some rows of a batch, and the target elsewhere."""
    pair = make(draws)
    if into:
        into[0][:] = pair.source.numpy()
        pair = Pair(torch.from_numpy(into[0]), pair.target)
    return pair


@pytest.mark.parametrize("lanes", [1, 64])
def test_what_is_made_in_its_slot_is_the_same(lanes: int) -> None:
    with working(in_place, lanes=lanes) as workers:
        for number in range(12):
            batch, expected = next(workers), make(range(number * BATCH, (number + 1) * BATCH))
            assert all(torch.equal(part, other) for part, other in zip(batch, expected, strict=True))


def bad_at_40(draws: Sequence[int], _into: Into = ()) -> Pair | BadInput:
    return BadInput("a damaged sample", "shard 3") if 40 in draws else make(draws)


def fail_at_40(draws: Sequence[int], _into: Into = ()) -> Pair:
    if 40 in draws:
        raise KeyError("forty")
    return make(draws)


def other_at_40(draws: Sequence[int], _into: Into = ()) -> Pair:
    pair = make(draws)
    return Pair(pair.source.double(), pair.target) if 40 in draws else pair


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        (bad_at_40, BadInput, "shard 3"),
        (fail_at_40, RuntimeError, "fail_at_40"),
        (other_at_40, RuntimeError, "float64"),
    ],
)
def test_a_fault_is_raised_at_its_batch_and_no_earlier(how: object, kind: type[Exception], words: str) -> None:
    with working(how) as workers:  # type: ignore[arg-type]
        for number in range(5):
            assert first_draws(next(workers))[0] == number * BATCH
        with pytest.raises(kind, match=words):
            next(workers)


def test_a_worker_that_is_killed_is_told() -> None:
    with working() as workers:
        next(workers)
        pid = workers.processes[1].pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=rf"process {pid}\) was killed by SIGKILL; the kernel does so"):
            take(workers, 20)


def test_workers_are_deaf_to_a_jobs_signals() -> None:
    with working() as workers:
        next(workers)
        for process, number in itertools.product(workers.processes, (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)):
            assert process.pid
            os.kill(process.pid, number)
        assert [first_draws(next(workers))[0] for _ in range(20)] == list(range(8, 168, 8))


def test_workers_do_not_outlive_a_process_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import pathlib, time
from tests.pipeline.test_workers import Workers, batches, make
workers = Workers(make, batches(), 2, 2)
next(workers)
pathlib.Path({str(tmp_path / "pids")!r}).write_text(" ".join(str(process.pid) for process in workers.processes))
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment(), cwd=ROOT)
    written = tmp_path / "pids"
    while not (written.exists() and written.read_text()):
        assert parent.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    pids = [int(word) for word in written.read_text().split()]
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def alive(pid: int) -> bool:
    """Whether it runs; one that nobody has waited for does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
