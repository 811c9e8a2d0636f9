"""The sources of a shard, read and checked in the shard's order, by threads ahead of their being written where it pays.

Decoding leaves Python's lock for milliseconds and a store's answer takes as long, so threads keep more than one core
busy. Where headers alone are looked at, threads wait for the lock more than they work: a quarter slower than none.
"""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from pipeline.index import LeftOut
from pipeline.remote import Remote
from pipeline.sharding.ingest import Sample, ingest
from pipeline.sharding.plan import Job
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.contents import Contents
from pipeline.sources.listing import SourceFile

THREADS = 3  # with the two that hash and write the shard, as many as four cores can use
BATCH = 32  # pictures that a thread takes at a time: handing over one costs more than parsing its header
BATCH_BYTES = 1 << 22  # of their files, so that a few huge ones do not fill the memory
AHEAD = 5  # batches
REMOTE_THREADS, REMOTE_AHEAD = 16, 32  # where most of a thread's time is waiting for an answer

Result = tuple[int, list[Sample | LeftOut] | LeftOut]


class ReadAhead:
    """Iterates over (number, samples or why there are none) for each source of a job, and counts their levels."""

    def __init__(self, job: Job, storage: StorageConfig) -> None:
        self.job = job
        self.storage = storage
        self.levels = Levels()
        """Of all sources so far."""
        keep_freed_memory()
        remote = any(isinstance(source.root, Remote) for source in job.files)
        self._ahead = REMOTE_AHEAD if remote else AHEAD
        self._at_once = storage.check == "header" and storage.store == "source" and not remote
        self._threads = ThreadPoolExecutor(REMOTE_THREADS if remote else THREADS)
        self._local = threading.local()  # a thread's own open files: one must not close what another reads

    def __iter__(self) -> Iterator[Result]:
        waiting: deque[Future[tuple[list[Result], Levels]]] = deque()
        for batch in self._batches():
            if self._at_once:
                yield from self._take(self._ingest(batch))
                continue
            waiting.append(self._threads.submit(self._ingest, batch))
            if len(waiting) >= self._ahead:
                yield from self._take(waiting.popleft().result())
        while waiting:
            yield from self._take(waiting.popleft().result())

    def _take(self, batch: tuple[list[Result], Levels]) -> list[Result]:
        results, levels = batch
        self.levels.merge(levels)
        return results

    def _batches(self) -> Iterator[list[tuple[int, SourceFile]]]:
        batch: list[tuple[int, SourceFile]] = []
        size = 0
        for number, source in enumerate(self.job.files, self.job.first_key):
            batch.append((number, source))
            size += source.size
            if len(batch) >= BATCH or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch

    def _ingest(self, batch: list[tuple[int, SourceFile]]) -> tuple[list[Result], Levels]:
        if not hasattr(self._local, "contents"):
            self._local.contents = Contents()
        contents, levels = self._local.contents, Levels()
        results = []
        for number, source in batch:
            measure = number % self.job.measure_every == 0
            results.append((number, ingest(source, contents, self.storage, levels, measure)))
        return results, levels

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


def keep_freed_memory() -> None:
    """Have the C library keep what pictures leave for those that come after, instead of returning it to the kernel.

    Else every page is faulted in and zeroed anew: nine faults a photograph, a tenth of the processor's time. glibc
    keeps up to twice the largest block that has ever been freed, up to 32 MiB; nobody touches this one. Other C
    libraries take no notice.
    """
    bytes(31 << 20)
