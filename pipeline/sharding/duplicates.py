"""Exact duplicates: files of equal bytes, found without reading files that can have no twin."""

import hashlib
import os
from pathlib import Path

import numpy as np

from pipeline.descriptors import Descriptors
from pipeline.index import LeftOut
from pipeline.sources.contents import Contents
from pipeline.sources.listing import SourceFile, Sources
from pipeline.sources.members import NO_CRC

PROBE = 4096  # bytes from the middle, where two pictures of one size differ; their beginnings may well be equal


def find_duplicates(sources: Sources) -> dict[int, int]:
    """For each picture whose bytes an earlier one has: its position and the position of the first of them.

    Only files of equal size are looked into, and read whole only where 4 KiB from their middle, or the checksums
    that a zip holds of them, are equal too.
    """
    sizes = np.frombuffer(sources.sizes, np.uint64)
    by_size = np.argsort(sizes, kind="stable")
    ends = np.flatnonzero(np.diff(sizes[by_size])) + 1
    found: dict[int, int] = {}
    descriptors, contents = Descriptors(), Contents()
    start = 0
    for end in [*ends.tolist(), len(by_size)]:
        if end - start > 1:
            group = by_size[start:end].tolist()
            marks = _marks([sources[position] for position in group], descriptors)
            for alike in _grouped(group, marks):
                for twins in _grouped(alike, [_digest(sources[p], contents) for p in alike]):
                    found.update(dict.fromkeys(twins[1:], twins[0]))
        start = end
    return found


def _grouped(positions: list[int], marks: list[bytes]) -> list[list[int]]:
    """Positions of equal marks, each group in ascending order; single ones and empty marks are dropped."""
    groups: dict[bytes, list[int]] = {}
    for position, mark in zip(positions, marks, strict=True):
        if mark:
            groups.setdefault(mark, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _marks(files: list[SourceFile], descriptors: Descriptors) -> list[bytes]:
    """For files of one size something cheap that is equal where their bytes are."""
    crcs = [file.member.crc32 if file.member else NO_CRC for file in files]
    if NO_CRC not in crcs:  # a zip knows the checksums of its members
        return [b"%d" % crc for crc in crcs]
    if any(crc != NO_CRC for crc in crcs):  # zips and others: only the whole bytes compare
        return [b"any"] * len(files)
    return [_probe(file, descriptors) for file in files]


def _probe(source: SourceFile, descriptors: Descriptors) -> bytes:
    """Some bytes; nothing where they cannot be read, which is told when the picture is."""
    start, length = source.size // 2, min(PROBE, source.size)
    try:
        if source.member is None:
            descriptor = os.open(Path(source.root, source.name), os.O_RDONLY)
            try:
                return os.pread(descriptor, length, start)
            finally:
                os.close(descriptor)
        return os.pread(descriptors.get(source.root), length, source.member.offset + start)
    except OSError:
        return b""


def _digest(source: SourceFile, contents: Contents) -> bytes:
    data = contents.read(source)
    return b"" if isinstance(data, LeftOut) else hashlib.sha256(data).digest()
