"""Whole shards in a pool of processes, in one output folder that belongs to one plan."""

import fcntl
import hashlib
import itertools
import json
import multiprocessing
import os
import platform
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.atomic import PARTIAL, write_whole
from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.orphans import die_with_parent
from pipeline.remote.place import Place, Remote
from pipeline.sharding.part import Part
from pipeline.sharding.shard_writer import ShardResult, load_result

WORK = ".work"
PLAN = "plan.json"
QUESTIONS = 16  # to a store at a time

Write = Callable[[Any, Place, Place, bool], ShardResult]
"""(job, output folder, work folder, whether a core is free for another process); travels to other processes."""


class Plan(Protocol):
    """What is to be written: of pictures (plan.py) or of scenes (scene_plan.py)."""

    @property
    def left_out(self) -> list[LeftOut]: ...
    @property
    def starts(self) -> NDArray[Any]: ...
    @property
    def shards(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def shard_name(self, number: int) -> str: ...
    def job(self, number: int) -> Any: ...
    def options(self) -> dict[str, Any]: ...


def claim_folder(out: Place, plan: Plan) -> None:
    """Claim the output folder for this plan, or find it claimed by the same plan and go on."""
    claim = out / WORK / PLAN
    # Other parts may claim it at the same moment; whoever finds shards finds the claim that came before them.
    foreign = out.exists() and any(entry.name != WORK for entry in out.iterdir())
    if claim.exists():
        claimed = json.loads(claim.read_bytes())
        if claimed["plan_sha256"] != plan.sha256:
            raise BadInput(
                "the output folder holds unfinished work of another command",
                where=out,
                got=f"now {differences(claimed, plan.options())}",
                wanted="the same sources and options as at first",
                todo="repeat that command (with its sources unchanged), or delete the folder and start anew",
            )
        return
    if foreign:
        raise BadInput("the output folder is not empty", out, "other files", "an empty folder", "choose another --out")
    if isinstance(claim, Remote):
        claim.write_bytes(json.dumps(plan.options()).encode())
        return
    (out / WORK).mkdir(parents=True, exist_ok=True)
    own = claim.with_name(f"{PLAN}.{platform.node()}.{os.getpid()}")
    with write_whole(own) as file:
        file.write(json.dumps(plan.options()).encode())
    os.replace(own, claim)


def differences(before: dict[str, object], now: dict[str, object]) -> str:
    """What two sets of options disagree about, in words for a message."""
    names = [name for name in now if name != "plan_sha256" and before.get(name) != now[name]]
    return ", ".join(f"{name} is {now[name]!r}, was {before.get(name)!r}" for name in names) or (
        "the names or sizes of the sources are others"
    )


@contextmanager
def sole_writer(out: Place, part: Part) -> Iterator[None]:
    """Keep a second run of the same part on this machine from writing the same files at the same time."""
    folder = out / WORK
    if isinstance(folder, Remote):  # a store has no locks; two machines that write one part write the same bytes
        digest = hashlib.sha256(folder.url.encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"n2n-{os.getuid()}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"part-{part.number}-of-{part.count}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            todo = "wait for it, or stop it"
            raise BadInput("another process is writing this set", out, "a lock", "one process a part", todo) from error
        yield


def run_jobs(plan: Plan, write: Write, out: Place, workers: int, part: Part) -> None:
    """Write every shard of this part that is not finished yet."""
    left_out = size = 0
    bar = tqdm(total=0, desc="shards", unit="picture", disable=None)
    numbers = part.shards(plan.shards)
    bar.total = int(sum(plan.starts[number + 1] - plan.starts[number] for number in numbers))
    for number, result in _write_all(plan, write, out, workers, numbers):
        left_out += len(result.left_out)
        size += result.entry.bytes
        bar.update(int(plan.starts[number + 1] - plan.starts[number]))
        rate = size / 1e6 / max(1e-3, bar.format_dict["elapsed"])
        bar.set_postfix_str(f"{size / 1e6:,.0f} MB at {rate:,.0f} MB/s, {left_out} left out")
    bar.close()


def _write_all(plan: Plan, write: Write, out: Place, workers: int, numbers: range) -> Iterator[tuple[int, ShardResult]]:
    todo = []
    for number, finished in zip(numbers, load_results(plan, out, numbers), strict=True):
        if finished is None:
            todo.append(number)
        else:
            yield number, finished
    workers = min(workers, len(todo))
    spare = 2 * workers <= (os.cpu_count() or 1)
    if workers <= 1:
        for number in todo:
            yield number, write(plan.job(number), out, out / WORK, spare)
        return
    # spawn: a forked child would inherit locks of threads that libraries have started
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=die_with_parent) as pool:
        waiting = iter(todo)
        futures: dict[Future[ShardResult], int] = {}
        try:
            while True:
                # A few jobs ahead of the workers, not all: a job holds its names, and a set may have 100,000.
                for number in itertools.islice(waiting, 2 * workers - len(futures)):
                    job = plan.job(number)
                    with _interrupt_held():
                        futures[pool.submit(write, job, out, out / WORK, spare)] = number
                if not futures:
                    return
                done = next(as_completed(futures))
                yield futures.pop(done), done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Ctrl-C reaches the whole process group, and the parent alone decides what it means.

    Processes that are started in here inherit the blocked signal, and so are deaf to it from their first moment.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def load_results(plan: Plan, out: Place, numbers: range) -> Iterator[ShardResult | None]:
    """What earlier runs have finished of some shards."""

    def load(number: int) -> ShardResult | None:
        return load_result(plan.shard_name(number), out, out / WORK)

    if isinstance(out, Path):
        yield from map(load, numbers)
        return
    with ThreadPoolExecutor(QUESTIONS) as threads:
        yield from threads.map(load, numbers)


def all_results(plan: Plan, out: Place) -> list[ShardResult]:
    """The results of every shard, whoever wrote it. Raises BadInput where some are not finished."""
    results = list(load_results(plan, out, range(plan.shards)))
    missing = [number for number, result in enumerate(results) if result is None]
    if missing:
        some = ", ".join(plan.shard_name(number) for number in missing[:5])
        raise BadInput(
            "the set is not complete",
            where=out,
            got=f"{len(missing)} of {plan.shards} shards are missing: {some}{', ...' if len(missing) > 5 else ''}",
            wanted="every part finished before --finish",
            todo="run the parts that have not ended with exit code 0 again; they go on where they were",
        )
    return [result for result in results if result is not None]


def remove_leftovers(out: Place) -> None:
    """What killed processes have left: nobody writes any more when a set is finished."""
    if isinstance(out, Remote):  # where nothing is ever there by half
        return
    for leftover in out.glob(f"*{PARTIAL}"):
        leftover.unlink(missing_ok=True)
