"""Processes that make batches ahead of time, in slots that they share with the one that trains."""

import atexit
import gc
import multiprocessing
import os
import pickle
import select
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.memory import keep_freed_memory
from pipeline.orphans import DEAF_TO
from pipeline.slots import Slots

HELD = 2  # batches that the training process may keep before it is given copies: that of a step, and the one before
LOOK_S = 5.0  # between two looks of an idle worker at whether its parent still lives

Make = Callable[[Sequence[int], Sequence[NDArray[Any]]], Any]
"""Makes the batch of some draws, perhaps in arrays that are offered for its parts; none are offered for some rows."""


class Task(NamedTuple):
    """Rows of a batch for one worker to make."""

    batch: int
    slot: int
    rows: list[int] | slice
    draws: Sequence[int]


class Workers:
    """Makes batch after batch of draws, in their order, by `count` processes with `prefetch` batches each in hand.

    Only numbers travel: what to make, and that it is made. Workers are deaf to the signals of a job's scheduler, which
    are for the process that trains; that one ends them, and they end by themselves where it is gone.
    """

    def __init__(
        self, make: Make, batches: Iterator[Sequence[int]], count: int, prefetch: int, lanes: int = 1, pin: bool = False
    ) -> None:
        """With `lanes`, a batch is shared out by draw modulo lanes, so that the same worker has the same ones.

        Raises BadInput where the first pair cannot be made.
        """
        self.pin, self.lanes, self.batches = pin, lanes, batches
        first = next(batches)
        self.upcoming = deque([first])
        example = make(first[:1], ())
        if isinstance(example, BadInput):
            raise example
        self.slots = Slots(example, len(first), count * prefetch + HELD)
        self.most = count * prefetch
        self.assigned = self.wanted = 0
        self.missing: dict[int, int] = {}  # parts of a batch that are still being made
        self.slot_of: dict[int, int] = {}
        self.failed: dict[int, BadInput | str] = {}
        self.processes: list[BaseProcess] = []
        self.pipes: list[Connection] = []
        self.pending = [0] * count
        self.poll = select.poll()
        atexit.register(self.close)  # before multiprocessing's own, which would wait for what is deaf
        before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)  # until each worker has become deaf to them
        try:
            for _ in range(count):
                self.start(make)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.by_descriptor = {pipe.fileno(): number for number, pipe in enumerate(self.pipes)}

    def start(self, make: Make) -> None:
        """Start a worker: forked, as slots are memory without a name."""
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(make, self.slots, theirs, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        self.pipes.append(ours)
        self.processes.append(process)
        self.poll.register(ours.fileno(), select.POLLIN)

    def __next__(self) -> Any:
        """The next batch. Raises BadInput for a fault in the data, RuntimeError for one of a worker or its end."""
        self.assign()
        number = self.wanted
        while self.missing.get(number, 0):
            self.receive()
        self.wanted += 1
        slot = self.slot_of.pop(number)
        if number in self.failed:
            fault = self.failed[number]
            raise fault if isinstance(fault, BadInput) else RuntimeError(f"a worker of the loader failed:\n{fault}")
        batch = self.slots.copy(slot, self.pin) if self.pin or len(self.slots.lent) >= HELD else self.slots.lend(slot)
        self.assign()
        return batch

    def ready(self) -> bool:
        """Whether the next batch is there and whole, so that to take it neither waits nor raises."""
        self.assign()
        while self.missing.get(self.wanted, 0) and self.poll.poll(0):
            self.receive()
        return self.wanted in self.slot_of and not self.missing.get(self.wanted, 0) and self.wanted not in self.failed

    def assign(self) -> None:
        """Hand out batches as far as there are slots."""
        while self.slots.free and self.assigned - self.wanted < self.most:
            draws = self.upcoming.popleft() if self.upcoming else next(self.batches)
            slot, number, shares = self.slots.free.popleft(), self.assigned, self.shares(draws)
            self.assigned += 1
            self.slot_of[number], self.missing[number] = slot, len(shares)
            for worker, rows in shares.items():
                mine = draws if isinstance(rows, slice) else [draws[row] for row in rows]
                self.pending[worker] += 1
                try:
                    tell(self.pipes[worker], Task(number, slot, rows, mine))
                except OSError as error:
                    raise self.death(worker) from error

    def shares(self, draws: Sequence[int]) -> dict[int, list[int] | slice]:
        """Which worker makes which rows: all of them whoever has least to do, or by lanes."""
        if self.lanes == 1:
            return {self.pending.index(min(self.pending)): slice(None)}
        shares: dict[int, list[int] | slice] = {}
        for worker in range(len(self.pipes)):
            rows = [row for row, draw in enumerate(draws) if draw % self.lanes % len(self.pipes) == worker]
            if rows:
                shares[worker] = rows
        return shares

    def receive(self) -> None:
        """Wait for news of any worker."""
        for descriptor, _ in self.poll.poll():
            worker = self.by_descriptor[descriptor]
            try:
                number, fault = heard(self.pipes[worker])
            except (EOFError, OSError) as error:
                raise self.death(worker) from error
            self.pending[worker] -= 1
            self.missing[number] -= 1
            if not self.missing[number]:
                del self.missing[number]
            if fault is not None:
                self.failed[number] = fault

    def death(self, worker: int) -> RuntimeError:
        process = self.processes[worker]
        process.join(LOOK_S)
        code = process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
        hint = "; the kernel does so where memory runs out" if code == -signal.SIGKILL else ""
        return RuntimeError(f"a worker of the loader (process {process.pid}) {how}{hint}")

    def close(self) -> None:
        """End the workers, who hold nothing that could be lost."""
        atexit.unregister(self.close)
        for process in self.processes:
            process.kill()
        for process, pipe in zip(self.processes, self.pipes, strict=True):
            process.join()
            pipe.close()
        self.processes, self.pipes = [], []


def tell(pipe: Connection, what: Any) -> None:
    """As pipe.send, whose pickler, which can do more, takes as long as to cut three crops."""
    pipe.send_bytes(pickle.dumps(what))


def heard(pipe: Connection) -> Any:
    """What the other end has told."""
    return pickle.loads(pipe.recv_bytes())


def work(make: Make, slots: Slots, pipe: Connection, parent: int) -> None:
    """In a worker: make what is asked for until the parent is gone."""
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DEAF_TO)
    torch.set_num_threads(1)
    keep_freed_memory()
    gc.freeze()  # what was there before the fork is not looked through for garbage: a tenth of a small crop's time
    news = select.poll()  # pipe.poll() makes one at every call, which takes as long as to cut two crops
    news.register(pipe.fileno(), select.POLLIN)
    while True:
        while not news.poll(1000 * LOOK_S):
            if os.getppid() != parent:
                return
        try:
            task = heard(pipe)
            tell(pipe, (task.batch, done(make, slots, task)))
        except (EOFError, OSError):
            return


def done(make: Make, slots: Slots, task: Task) -> BadInput | str | None:
    """Make it; what went wrong is returned, to be raised where it is read."""
    try:
        batch = make(task.draws, slots.parts(task.slot) if isinstance(task.rows, slice) else ())
        if isinstance(batch, BadInput):
            return batch
        slots.fill(task.slot, task.rows, batch)
    except Exception:
        return traceback.format_exc()
    return None
