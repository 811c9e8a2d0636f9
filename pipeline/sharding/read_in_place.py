"""The sources of a shard where headers alone are looked at: each read to the very place that it has in the archive.

Nothing is copied, and what takes longest, a picture's SHA-256, is left to a thread of the writer. To read is then most
of what is left to do for a picture, and one thread does it faster than several that share Python's lock.
"""

import hashlib
import os
from collections.abc import Iterator

from pipeline.index import LeftOut
from pipeline.memory import keep_freed_memory
from pipeline.remote.place import Remote
from pipeline.sharding.ingest import DIGEST, Read, ingest
from pipeline.sharding.plan import Job
from pipeline.sharding.read_ahead import KEPT_BYTES, Result
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import PIXELS, STORED_AS, StorageConfig
from pipeline.sharding.tar_writer import LARGEST, TarWriter
from pipeline.sources.contents import Contents


def headers_alone(job: Job, storage: StorageConfig) -> bool:
    """Whether most pictures of a job go into the shard as they are, undecoded."""
    changed = storage.store == "pixels" or storage.max_side or storage.tile or storage.grey
    remote = any(isinstance(source.root, Remote) for source in job.files)
    return storage.check == "header" and not changed and not remote


def read_in_place(job: Job, storage: StorageConfig, levels: Levels, tar: TarWriter) -> Iterator[Result]:
    """(number, samples or why there are none) for each source; samples are to be added to `tar` before the next.

    Where they are the files' own bytes their SHA-256 is DIGEST, to be filled in; those that are decoded are counted
    in `levels`. Raises BadInput where a source has vanished or changed.
    """
    contents = Contents()
    keep_freed_memory(KEPT_BYTES)
    for number, source in enumerate(job.files, job.first_key):
        stored = STORED_AS.get(os.path.splitext(source.name)[1].lower(), PIXELS)
        data: bytes | memoryview | LeftOut
        large = source.size >= LARGEST
        if stored < "json" and source.member is None and not large:  # the picture is its sample's first member
            data = contents.read_into(tar.place(source.size + 1), source)
        else:
            data = contents.read(source)
        if isinstance(data, LeftOut):
            yield number, data
            continue
        digest = hashlib.sha256(data).hexdigest() if stored == PIXELS or large else DIGEST
        measure = number % job.measure_every == 0
        yield number, ingest(Read(source, data, digest), contents, storage, levels, measure)
