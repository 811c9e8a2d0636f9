"""Exact duplicates: files of equal bytes, found without reading files that can have no twin."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.index import LeftOut
from pipeline.remote.errors import Denied
from pipeline.remote.place import Remote
from pipeline.sources.contents import Contents
from pipeline.sources.listing import Sources
from pipeline.sources.members import NO_CRC

PROBE = 4096  # bytes from the middle, where two pictures of one size differ; their beginnings may well be equal
BATCH = 4096  # pictures compared at a time
REMOTE_THREADS = 32  # where each look is an answer waited for

Groups = list[list[int]]


def find_duplicates(sources: Sources) -> dict[int, int]:
    """For each picture whose bytes an earlier one has: its position and the position of the first of them.

    Only files of equal size are looked into, and read whole only where 4 KiB from their middle, or the checksums
    that a zip holds of them, are equal too.
    """
    found: dict[int, int] = {}
    remote = any(isinstance(root, Remote) for root in sources.roots)
    with ThreadPoolExecutor(REMOTE_THREADS) as threads:
        look = Look(sources, threads if remote else None)
        for groups in equal_sizes(sources):
            for twins in look.alike(look.alike(groups, look.mark), look.digest):
                found.update(dict.fromkeys(twins[1:], twins[0]))
    return found


def equal_sizes(sources: Sources) -> Iterator[Groups]:
    """Positions of pictures of one size, each group in ascending order, some groups at a time."""
    sizes = np.frombuffer(sources.sizes, np.uint64)
    by_size = np.argsort(sizes, kind="stable")
    ends = np.flatnonzero(np.diff(sizes[by_size])) + 1
    groups: Groups = []
    start = count = 0
    for end in [*ends.tolist(), len(by_size)]:
        if end - start > 1:
            groups.append(by_size[start:end].tolist())
            count += end - start
        if count >= BATCH:
            yield groups
            groups, count = [], 0
        start = end
    yield groups


class Look:
    """Looks into pictures, many at a time where they are elsewhere."""

    def __init__(self, sources: Sources, threads: ThreadPoolExecutor | None) -> None:
        self.sources = sources
        self._map = threads.map if threads else map
        self._local = threading.local()

    @property
    def contents(self) -> Contents:
        """A thread's own open files."""
        if not hasattr(self._local, "contents"):
            self._local.contents = Contents()
        contents: Contents = self._local.contents
        return contents

    def alike(self, groups: Groups, read: Callable[[tuple[int, int]], bytes]) -> Groups:
        """Each group split into those of equal marks; single ones and empty marks are dropped."""
        # A zip knows the checksums of its members. In a group of such and others only the whole bytes compare.
        crcs = [{self.sources.crc32(position) != NO_CRC for position in group} for group in groups]
        kinds = [2 if len(kind) > 1 else int(kind.pop()) for kind in crcs]
        asked = [(position, kind) for group, kind in zip(groups, kinds, strict=True) for position in group]
        marks = iter(self._map(read, asked))
        split: Groups = []
        for group in groups:
            parts: dict[bytes, list[int]] = {}
            for position in group:
                if mark := next(marks):
                    parts.setdefault(mark, []).append(position)
            split += [part for part in parts.values() if len(part) > 1]
        return split

    def mark(self, asked: tuple[int, int]) -> bytes:
        """Something cheap that is equal where the bytes of files of one size are; nothing where it cannot be read."""
        position, kind = asked
        if kind:
            return b"%d" % self.sources.crc32(position) if kind == 1 else b"zips and others"
        source = self.sources[position]
        try:
            part = self.contents.part(source, min(PROBE, source.size), source.size // 2)
        except (OSError, Denied):  # which is told when the picture is read
            return b""
        return hashlib.blake2b(part, digest_size=16).digest()

    def digest(self, asked: tuple[int, int]) -> bytes:
        data = self.contents.read(self.sources[asked[0]])
        return b"" if isinstance(data, LeftOut) else hashlib.sha256(data).digest()
