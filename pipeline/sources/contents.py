"""The bytes of sources: whole files, or members read where they lie in their archive."""

import errno
import json
import os
import struct
import zlib
from functools import partial
from typing import Any, TypeVar

from pipeline.descriptors import Descriptors
from pipeline.errors import BadInput
from pipeline.index import LeftOut, crc32
from pipeline.remote.errors import Denied
from pipeline.remote.place import Place, Remote
from pipeline.sources.listing import SourceFile
from pipeline.sources.members import NO_CRC, Member
from pipeline.sources.ranges import Pread
from pipeline.sources.tar_members import BLOCK, parse_header

REPLAN = "leave the sources alone while sharding; delete the output folder and run the command again"
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of its name and extra field
FORBIDDEN = (errno.EACCES, errno.EPERM)

Data = TypeVar("Data", bytes, memoryview)


class Contents:
    """Reads sources in place, within the bounds that they were listed with."""

    def __init__(self) -> None:
        self._descriptors = Descriptors()

    def read(self, source: SourceFile) -> bytes | LeftOut:
        """The picture file's bytes. What this user may not read, or is damaged in itself, is left out.

        Raises BadInput where a source has vanished or changed since it was listed, or its disk fails.
        """
        try:
            if source.member is None:
                if isinstance(source.root, Remote):
                    return _sized((source.root / source.name).pread(source.size + 1, 0), source)
                return _sized(_read_file(source), source)
            if source.root.suffix.lower() == ".zip":
                return _read_zip_member(self._pread(source.root), source, source.member)
            return _read_tar_member(self._pread(source.root), source, source.member)
        except (Denied, OSError) as error:
            return unreadable(source, error)

    def read_into(self, memory: memoryview, source: SourceFile) -> memoryview | LeftOut:
        """The same of a file on a disk of this machine, in `memory`, which has room for a byte more than was listed."""
        try:
            descriptor = _open(source)
            try:
                size = os.readv(descriptor, [memory])
                while size < source.size and (more := os.readv(descriptor, [memory[size:]])):
                    size += more
            finally:
                os.close(descriptor)
        except OSError as error:
            return unreadable(source, error)
        return _sized(memory[:size], source)

    def _pread(self, root: Place) -> Pread:
        return root.pread if isinstance(root, Remote) else partial(os.pread, self._descriptors.get(root))

    def part(self, source: SourceFile, size: int, offset: int) -> bytes:
        """Some stored bytes of a source. Raises OSError where they cannot be read."""
        if source.member is not None:
            return self._pread(source.root)(size, source.member.offset + offset)
        if isinstance(source.root, Remote):
            # Not every web server sends parts; from the beginning all do.
            skipped = offset if source.root.is_http else 0
            return (source.root / source.name).pread(skipped + size, offset - skipped)[skipped:]
        descriptor = _open(source)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def about(self, source: SourceFile) -> dict[str, Any]:
        """The JSON beside a picture in a WebDataset tar; empty where there is none that can be read."""
        member = source.member
        if member is None or not member.about_size:
            return {}
        data = self._pread(source.root)(member.about_size, member.about_offset)
        try:
            about = json.loads(data)
        except (ValueError, RecursionError):
            return {}
        return about if isinstance(about, dict) else {}


def unreadable(source: SourceFile, error: Denied | OSError) -> LeftOut:
    """What is said of a picture that this user may not read; any other error is raised, as BadInput."""
    if isinstance(error, Denied):
        if source.member is not None:
            raise error
        return LeftOut(source.title, "unreadable", f"{error.args[0]}: {error.args[2]}")
    reason = error.strerror or str(error)
    if error.errno in FORBIDDEN and source.member is None:
        return LeftOut(source.title, "unreadable", reason)
    raise BadInput("a source cannot be read", source.where, reason, "the file that was listed", REPLAN) from error


def _open(source: SourceFile) -> int:
    return os.open(os.path.join(str(source.root), source.name), os.O_RDONLY | os.O_CLOEXEC)


def _read_file(source: SourceFile) -> bytes:
    descriptor = _open(source)
    try:
        data = os.read(descriptor, source.size + 1)
        while len(data) < source.size and (more := os.read(descriptor, source.size + 1 - len(data))):
            data += more
    finally:
        os.close(descriptor)
    return data


def _sized(data: Data, source: SourceFile) -> Data:
    if len(data) != source.size:
        got = "fewer" if len(data) < source.size else "more"
        raise changed(source, f"{got} bytes than listed")
    return data


def _read_tar_member(pread: Pread, source: SourceFile, member: Member) -> bytes:
    block = pread(BLOCK + member.size, member.offset - BLOCK)
    header = parse_header(block[:BLOCK], 0)
    # A size beyond 8 GiB would stand in a pax header before; pictures of a gigabyte are refused in the listing.
    if header is None or header.size != member.size or len(block) != BLOCK + member.size:
        raise changed(source, "no such member at its place")
    return block[BLOCK:]


def _read_zip_member(pread: Pread, source: SourceFile, member: Member) -> bytes | LeftOut:
    head = pread(LOCAL_HEADER.size, member.offset)
    if len(head) != LOCAL_HEADER.size or not head.startswith(b"PK\3\4"):
        raise changed(source, "no such member at its place")
    _, name_length, extra_length = LOCAL_HEADER.unpack(head)
    start = member.offset + LOCAL_HEADER.size + name_length + extra_length
    data = pread(member.packed, start)
    if member.deflated:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error as error:
            return LeftOut(source.title, "unreadable", f"damaged in the archive ({error})")
    if len(data) != member.size or member.crc32 not in (NO_CRC, crc32(data)):
        return LeftOut(source.title, "unreadable", "damaged in the archive: its checksum or size is wrong")
    return data


def changed(source: SourceFile, got: str) -> BadInput:
    return BadInput("a source has changed", source.where, got, f"{source.size:,} bytes as listed", REPLAN)
