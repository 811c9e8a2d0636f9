"""The sources of a shard, read and checked in the shard's order, by threads ahead of their being written.

Decoding leaves Python's lock for milliseconds and a store's answer takes as long, so threads keep more than one core
busy. Where headers alone are looked at, they would wait for the lock more than they work: read_in_place.py.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.memory import keep_freed_memory
from pipeline.remote.place import Remote
from pipeline.sharding.ingest import Read, Sample, ingest
from pipeline.sharding.plan import Job
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.contents import Contents
from pipeline.sources.listing import SourceFile

THREADS = 3  # with the one that hashes and writes the shard, as many as four cores can use
BATCH = 32  # pictures that a thread takes at a time: handing over one costs more than parsing its header
BATCH_BYTES = 1 << 22  # of their files, so that a few huge ones do not fill the memory
AHEAD = 5  # batches
KEPT_BYTES = 31 << 20  # of a freed block, at most: pictures of more are rare, and their memory is better given back
REMOTE_THREADS, REMOTE_AHEAD = 16, 32  # where most of a thread's time is waiting for an answer

Batch = list[tuple[int, SourceFile]]
Ingested = list[Sample | LeftOut] | LeftOut
Result = tuple[int, Ingested]


class ReadAhead:
    """Iterates over (number, samples or why there are none) for each source of a job; counts their levels in `levels`.

    Raises BadInput where a source has vanished or changed, once all those before it have been given out.
    """

    def __init__(self, job: Job, storage: StorageConfig, levels: Levels) -> None:
        self.job = job
        self.storage = storage
        self.levels = levels
        keep_freed_memory(KEPT_BYTES)
        remote = any(isinstance(source.root, Remote) for source in job.files)
        self._ahead = REMOTE_AHEAD if remote else AHEAD
        self._threads = ThreadPoolExecutor(REMOTE_THREADS if remote else THREADS)
        self._local = threading.local()  # a thread's own open files: one must not close what another reads

    def __iter__(self) -> Iterator[Result]:
        waiting: deque[Future[tuple[list[Result | BadInput], Levels]]] = deque()
        for batch in self._batches():
            waiting.append(self._threads.submit(self._read_and_ingest, batch))
            if len(waiting) >= self._ahead:
                yield from self._take(waiting.popleft().result())
        while waiting:
            yield from self._take(waiting.popleft().result())

    def _take(self, batch: tuple[list[Result | BadInput], Levels]) -> Iterator[Result]:
        results, levels = batch
        self.levels.merge(levels)
        for result in results:
            if isinstance(result, BadInput):
                raise result
            yield result

    def _batches(self) -> Iterator[Batch]:
        batch: Batch = []
        size = 0
        for number, source in enumerate(self.job.files, self.job.first_key):
            batch.append((number, source))
            size += source.size
            if len(batch) >= BATCH or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch

    def _contents(self) -> Contents:
        if not hasattr(self._local, "contents"):
            self._local.contents = Contents()
        contents: Contents = self._local.contents
        return contents

    def _read_and_ingest(self, batch: Batch) -> tuple[list[Result | BadInput], Levels]:
        contents, levels = self._contents(), Levels()
        results: list[Result | BadInput] = []
        for number, source in batch:
            try:
                data = contents.read(source)
            except BadInput as error:
                results.append(error)
                break
            if isinstance(data, LeftOut):
                results.append((number, data))
                continue
            read = Read(source, data, hashlib.sha256(data).hexdigest())
            measure = number % self.job.measure_every == 0
            results.append((number, ingest(read, contents, self.storage, levels, measure)))
        return results, levels

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
