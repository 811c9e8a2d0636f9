"""The sources of a shard, read and checked in the shard's order, by threads ahead of their being written.

Decoding leaves Python's lock for milliseconds and a store's answer takes as long, so threads keep more than one core
busy. Where headers alone are looked at, threads that read and parse wait for the lock more than they work, a quarter
slower than none: there one thread hashes a batch, and needs the lock for nothing else, while the next one is read.
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

THREADS = 3  # with the two that hash and write the shard, as many as four cores can use
BATCH = 32  # pictures that a thread takes at a time: handing over one costs more than parsing its header
BATCH_BYTES = 1 << 22  # of their files, so that a few huge ones do not fill the memory
AHEAD = 5  # batches
HASHED_BEHIND = 3  # batches that may wait for their hash, so that one to be decoded in between stops nobody
KEPT_BYTES = 31 << 20  # of a freed block, at most: pictures of more are rare, and their memory is better given back
REMOTE_THREADS, REMOTE_AHEAD = 16, 32  # where most of a thread's time is waiting for an answer

Batch = list[tuple[int, SourceFile]]
Ingested = list[Sample | LeftOut] | LeftOut
Result = tuple[int, Ingested]
Files = list[bytes | LeftOut | BadInput]
"""Of a batch, each file as it was read; where one cannot be and no other is to be left out for it, that is the last."""
Hashed = tuple[list[Read | LeftOut | BadInput], dict[int, Ingested], Levels]
"""A batch whose files are hashed, and, by number, what became of those that had to be decoded."""


class ReadAhead:
    """Iterates over (number, samples or why there are none) for each source of a job, and counts their levels.

    Raises BadInput where a source has vanished or changed, once all those before it have been given out.
    """

    def __init__(self, job: Job, storage: StorageConfig) -> None:
        self.job = job
        self.storage = storage
        self.levels = Levels()
        """Of all sources so far."""
        keep_freed_memory(KEPT_BYTES)
        remote = any(isinstance(source.root, Remote) for source in job.files)
        self._ahead = REMOTE_AHEAD if remote else AHEAD
        changed = storage.store == "pixels" or storage.max_side or storage.tile or storage.grey
        self._headers_alone = storage.check == "header" and not changed and not remote
        self._threads = ThreadPoolExecutor(1 if self._headers_alone else REMOTE_THREADS if remote else THREADS)
        self._local = threading.local()  # a thread's own open files: one must not close what another reads

    def __iter__(self) -> Iterator[Result]:
        waiting: deque[Future[tuple[list[Result | BadInput], Levels]]] = deque()
        if self._headers_alone:
            yield from self._hashed_behind()
            return
        for batch in self._batches():
            waiting.append(self._threads.submit(self._read_and_ingest, batch))
            if len(waiting) >= self._ahead:
                yield from self._take(waiting.popleft().result())
        while waiting:
            yield from self._take(waiting.popleft().result())

    def _hashed_behind(self) -> Iterator[Result]:
        """Each batch is parsed when the next ones have been read, by when a thread has hashed it."""
        waiting: deque[tuple[Batch, Future[Hashed]]] = deque()
        for batch in self._batches():
            files = self._read(batch)
            waiting.append((batch, self._threads.submit(self._hash, batch, files)))
            if files and isinstance(files[-1], BadInput):
                break
            if len(waiting) > HASHED_BEHIND:
                yield from self._parsed(*waiting.popleft())
        for batch, hashed in waiting:
            yield from self._parsed(batch, hashed)

    def _hash(self, batch: Batch, files: Files) -> Hashed:
        """What the thread does: of those to be measured, which are decoded, all there is to do."""
        reads, results, levels = with_digests(batch, files), {}, Levels()
        for (number, _), read in zip(batch, reads, strict=False):
            if number % self.job.measure_every == 0 and isinstance(read, Read):
                results[number] = ingest(read, self._contents(), self.storage, levels, measure=True)
        return reads, results, levels

    def _parsed(self, batch: Batch, hashed: Future[Hashed]) -> Iterator[Result]:
        reads, measured, levels = hashed.result()
        for (number, _), read in zip(batch, reads, strict=False):
            if isinstance(read, BadInput):
                raise read
            if isinstance(read, LeftOut):
                yield number, read
            elif number in measured:
                yield number, measured[number]
            else:
                yield number, ingest(read, self._contents(), self.storage, levels, measure=False)
        self.levels.merge(levels)

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

    def _read(self, batch: Batch) -> Files:
        contents, files = self._contents(), Files()
        for _, source in batch:
            try:
                files.append(contents.read(source))
            except BadInput as error:
                return [*files, error]
        return files

    def _read_and_ingest(self, batch: Batch) -> tuple[list[Result | BadInput], Levels]:
        contents, levels = self._contents(), Levels()
        results: list[Result | BadInput] = []
        for (number, _), read in zip(batch, with_digests(batch, self._read(batch)), strict=False):
            if isinstance(read, BadInput):
                results.append(read)
            elif isinstance(read, Read):
                measure = number % self.job.measure_every == 0
                results.append((number, ingest(read, contents, self.storage, levels, measure)))
            else:
                results.append((number, read))
        return results, levels

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


def with_digests(batch: Batch, files: Files) -> list[Read | LeftOut | BadInput]:
    """Each source with its bytes and their SHA-256, or why there are none; none after one that cannot be read."""
    return [
        Read(source, data, hashlib.sha256(data).hexdigest()) if isinstance(data, bytes) else data
        for (_, source), data in zip(batch, files, strict=False)
    ]
