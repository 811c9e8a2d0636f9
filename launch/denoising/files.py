"""Files denoised one after the other: what fails is told, the rest is done, and what is done is not done again."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from launch.denoising.journal import Journal
from launch.world import World
from pipeline.errors import DISK_ERRORS, BadInput, disk_error
from pipeline.panel import save_png, side_by_side
from pipeline.picture import Pixels

AHEAD = 2  # files that are read before they are needed, and written while the network goes on
VIEW = 1024  # pixels each way of what is put side by side: the middle of a larger picture


@dataclass(frozen=True)
class Job:
    """Files that become one: a picture alone, or a frame with its buffers. The first names it in messages."""

    sources: tuple[Path, ...]
    target: Path


@dataclass(frozen=True)
class Plan:
    """What a command line comes to."""

    jobs: list[Job]
    refused: list[str] = field(default_factory=list)
    """What was asked for and cannot be done, with the reason: a failure each."""
    passed: list[str] = field(default_factory=list)
    """What need not be done, with the reason."""
    asides: list[str] = field(default_factory=list)
    """More for the last line."""


@dataclass(frozen=True)
class Done:
    """What became of a file."""

    filled: int
    """Samples, of a frame pixels, that were NaN or infinite."""
    noisy: Tensor
    """The middle of the first picture before, (3, h, w) in [0, 1] for the eye."""
    denoised: Tensor
    """And after."""
    clipped: int = 0
    """Values above the largest of the file's type."""

    def notes(self) -> Iterator[str]:
        if self.filled:
            yield f"{self.filled:,} samples were NaN or infinite and are filled from beside them"
        if self.clipped:
            yield f"{self.clipped:,} values are clipped to the largest that half holds"


class Work(Protocol):
    """What is done to files of one kind."""

    note: Any
    """What a result depends on besides its sources and the recipe, for the journal."""

    def load(self, job: Job) -> Any:
        """What can be read while the network is busy with the file before; in a thread."""

    def denoise(self, job: Job, loaded: Any, show: bool) -> Callable[[], Done]:
        """Denoise, and return what is left to do while the network goes on; `show` how far it is, if it takes long."""


def denoise_all(
    plan: Plan, work: Work, journal: Journal, world: World, *, again: bool = False, compare: Path | None = None
) -> Counter[str]:
    """Do this rank's share of a plan, telling every failure. Returns what became of the files of all ranks."""
    mine = plan.jobs[world.rank :: world.size]
    waiting = [job for job in mine if again or not journal.holds(job.sources, job.target, work.note)]
    tally = Counter(old=len(mine) - len(waiting))
    for refusal in plan.refused if world.first else []:
        say(f"error: not denoised: {refusal}")
        tally["failed"] += 1

    def finish(job: Job, rest: Callable[[], Done]) -> Done:
        with told(job):
            done = rest()
            if compare:
                views = [("noisy", done.noisy), ("denoised", done.denoised)]
                place = compare / job.target.relative_to(journal.folder)
                save_png(side_by_side(views), place.with_name(place.name + ".png"))
        journal.add(job.sources, job.target, work.note)
        return done

    with tqdm(None, "denoise", len(waiting), unit="file", disable=None if world.first else True) as bar:
        for job, outcome in outcomes(waiting, work, finish, show=world.first):
            bar.update()
            if isinstance(outcome, BadInput):
                say(f"error: {outcome}")
                tally["failed"] += 1
                continue
            tally.update(new=1, filled=outcome.filled, clipped=outcome.clipped)
            for note in outcome.notes():
                say(f"note: {job.sources[0]}: {note}")
    return sum(world.gather(tally), Counter[str]())


def outcomes(
    jobs: list[Job], work: Work, finish: Callable[[Job, Callable[[], Done]], Done], show: bool
) -> Iterator[tuple[Job, Done | BadInput]]:
    """Every job with what became of it, in their order; reading and writing leave Python's lock to the network.

    On Ctrl-C, what the network has done is finished.
    """

    def result(job: Job, future: Future[Done]) -> tuple[Job, Done | BadInput]:
        try:
            return job, future.result()
        except BadInput as error:
            return job, error

    with ThreadPoolExecutor(AHEAD) as pool:
        behind: deque[tuple[Job, Future[Done]]] = deque()
        for job, loaded in read_ahead(jobs, work, pool):
            try:
                with told(job):
                    rest = work.denoise(job, loaded.result(), show)
                behind.append((job, pool.submit(finish, job, rest)))
            except BadInput as error:
                failed: Future[Done] = Future()
                failed.set_exception(error)
                behind.append((job, failed))
            if len(behind) > 1:
                yield result(*behind.popleft())
        for job, future in behind:
            yield result(job, future)


def read_ahead(jobs: Iterable[Job], work: Work, pool: ThreadPoolExecutor) -> Iterator[tuple[Job, Future[Any]]]:
    waiting: deque[tuple[Job, Future[Any]]] = deque()
    for job in jobs:
        waiting.append((job, pool.submit(work.load, job)))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


@contextmanager
def told(job: Job) -> Iterator[None]:
    """Turn what a machine can refuse into the message that its user needs."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise BadInput("the file cannot be written", job.target, error.strerror or str(error)) from error
        raise disk_error(error, error.filename or job.target) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError):
            raise too_large(job, error, "cut it first") from error
        # What the processor's allocator raises has no type of its own.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise too_large(job, error, "a smaller --tile") from error
        raise


def too_large(job: Job, error: Exception, todo: str) -> BadInput:
    return BadInput("a picture too large for the memory", job.sources[0], str(error).partition("\n")[0], "less", todo)


def summary(counts: Counter[str], plan: Plan, out: Path) -> str:
    """The last words."""
    words = [f"{counts['new']} denoised, in {out}"]
    for key, text in (
        ("old", "were finished before"),
        ("failed", "failed"),
        ("filled", "samples of NaN or infinity filled"),
        ("clipped", "values clipped to the largest that half holds"),
    ):
        words += [f"{counts[key]:,} {text}"] if counts[key] else []
    return "; ".join([*words, *plan.asides]) + "".join(f"\nnot denoised: {line}" for line in plan.passed)


def middle(picture: Pixels) -> Pixels:
    """A copy of the middle of (C, H, W)."""
    top, left = (max(0, side - VIEW) // 2 for side in picture.shape[-2:])
    return picture[:, top : top + VIEW, left : left + VIEW].copy()


def say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)
