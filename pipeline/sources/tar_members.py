"""Tar archives read in place: headers parsed strictly, so that a damaged archive is told and never cut short.

Python's tarfile takes a damaged header for the end of the archive, and whoever reads shards with it loses the
rest without a word. Understood are ustar, GNU and pax headers, a tar of tars (as ImageNet comes), and the groups
of WebDataset.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.errors import BadInput
from pipeline.remote.place import Place
from pipeline.sources.members import ABOUT_LIMIT, Member, Refused, is_archive, is_hidden, is_source, refuse, suffix
from pipeline.sources.ranges import Pread, opened

BLOCK = 512
DEEPEST = 2  # a tar of tars; ones nested deeper are left out
EXTENSION_LIMIT = 1 << 20  # of a long name or a pax header


@dataclass(frozen=True)
class Header:
    """One member as its headers describe it."""

    name: bytes
    offset: int
    size: int
    kind: bytes
    """The type flag: b"0" is a file."""


def tar_pictures(path: Place, slices: bool = False) -> Iterator[tuple[bytes, Member | Refused]]:
    """Names and places of the pictures of an archive, in its own order.

    Raises BadInput where the archive is damaged, cut short or followed by something else.
    """
    with opened(path) as (pread, length):
        yield from _pictures(TarFile(pread, path), (0, length), b"", 1, slices)


def _pictures(
    tar: "TarFile", extent: tuple[int, int], prefix: bytes, depth: int, slices: bool
) -> Iterator[tuple[bytes, Member | Refused]]:
    headers = tar.headers(*extent)
    for _, group in itertools.groupby(headers, key=lambda header: webdataset_key(header.name)):
        members = list(group)
        about = next((m for m in members if m.name.endswith(b".json") and m.kind == b"0"), None)
        for member in members:
            name = prefix + member.name
            if member.kind == b"5" or is_hidden(member.name):
                continue
            if member.name.lower().endswith(b".tar") and member.kind == b"0" and depth < DEEPEST:
                yield from _pictures(tar, (member.offset, member.offset + member.size), name + b"/", depth + 1, slices)
            elif is_archive(member.name):
                yield name, Refused("unsafe", "an archive inside an archive; only a tar of tars is read")
            elif is_source(member.name, slices) or is_pixels(member.name):
                yield name, _picture(member, about)


def _picture(header: Header, about: Header | None) -> Member | Refused:
    if lost := refused(header):
        return lost
    member = Member(header.offset, header.size, header.size)
    if about is not None and 0 < about.size <= ABOUT_LIMIT:
        member = replace(member, about_offset=about.offset, about_size=about.size)
    return member


def refused(header: Header) -> Refused | None:
    """Why a member that is named like a picture is not taken, or nothing."""
    if header.kind != b"0":
        kind = {b"1": "a link", b"2": "a link", b"S": "a sparse file"}.get(header.kind, "a device or the like")
        return Refused("unsafe", f"{kind}, not a file of its own")
    return refuse(header.name, header.size, header.size)


def webdataset_key(name: bytes) -> bytes:
    """What members of one sample have in common: the name up to the first dot of its last part."""
    folder, _, base = name.rpartition(b"/")
    return folder + b"/" + base.partition(b".")[0]


def is_pixels(name: bytes) -> bool:
    """KEY.npy, a decoded picture of our own sets; KEY.color.0.npy is none."""
    return suffix(name) == ".npy" and name.rpartition(b"/")[2].count(b".") == 1


class TarFile:
    """The headers of an open tar, which may lie inside another one."""

    def __init__(self, pread: Pread, path: Place) -> None:
        self.pread = pread
        self.path = path

    def headers(self, start: int, end: int) -> Iterator[Header]:
        """Every member between two offsets, with long names and sizes resolved."""
        name, size = b"", -1  # of the next member, from a header of its own before it
        position = start
        while True:
            block = self.pread(BLOCK, position) if position + BLOCK <= end else b""
            if len(block) != BLOCK:
                raise self.damaged(position, "no end mark: cut short, or still being written")
            if not any(block):
                self.check_tail(position, end)
                return
            header = parse_header(block, position)
            if header is None:
                raise self.damaged(position, "no member's header, or a damaged one")
            if header.kind == b"S":
                header = self.after_sparse_map(header, block)
            size_here = size if size >= 0 else header.size
            position = header.offset + -(-size_here // BLOCK) * BLOCK
            if header.offset + size_here > end:
                raise self.damaged(header.offset, f"a member of {size_here:,} bytes that ends past the archive")
            if header.kind in (b"L", b"K", b"x", b"g"):
                name, size = self.extension(header, name, size)
                continue
            yield Header(_plain(name or header.name), header.offset, size_here, header.kind)
            name, size = b"", -1

    def extension(self, header: Header, name: bytes, size: int) -> tuple[bytes, int]:
        """A header that says something about the next member: its long name, or (pax) its name and size."""
        if header.size > EXTENSION_LIMIT:
            raise self.damaged(header.offset, f"a name of {header.size:,} bytes")
        data = self.pread(header.size, header.offset)
        if header.kind == b"L":
            return data.rstrip(b"\0"), size
        if header.kind == b"x":
            try:
                records = pax_records(data)
                return records.get(b"path", name), int(records.get(b"size", size))
            except ValueError as error:
                raise self.damaged(header.offset, f"a pax header that cannot be read ({error})") from error
        return name, size

    def after_sparse_map(self, header: Header, block: bytes) -> Header:
        """Of a sparse file (old GNU format): its data begin after the blocks that say where its holes are."""
        offset, more = header.offset, block[482]
        while more:
            block = self.pread(BLOCK, offset)
            if len(block) != BLOCK:
                raise self.damaged(offset, "a sparse file without its map")
            offset, more = offset + BLOCK, block[504]
        return replace(header, offset=offset)

    def check_tail(self, position: int, end: int) -> None:
        """After the end mark only zeros: a second archive behind it would be lost without a word."""
        while position < end:
            chunk = self.pread(min(1 << 20, end - position), position)
            if not chunk or any(chunk):
                raise self.damaged(position, "data after the end mark: two archives in one file, or damage")
            position += len(chunk)

    def damaged(self, position: int, got: str) -> BadInput:
        return BadInput(
            "a damaged tar",
            where=f"{self.path} at byte {position:,}",
            got=got,
            wanted="a whole, uncompressed tar archive",
            todo="get it again, or mend it with `tar --ignore-zeros -x` into a folder and shard that",
        )


def parse_header(block: bytes, position: int) -> Header | None:
    """A header block of ustar, GNU or the old kind; None where its checksum or a number is wrong."""
    try:
        expected = int(block[148:156].strip(b" \0") or b"-1", 8)
        if sum(block) - sum(block[148:156]) + 8 * 32 != expected:
            return None
        field = block[124:136]
        size = int.from_bytes(field[1:], "big") if field[0] == 0x80 else int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    kind = block[156:157]
    if kind in (b"\0", b"7"):
        kind = b"5" if name.endswith(b"/") else b"0"
    holds_data = kind not in (b"1", b"2", b"3", b"4", b"5", b"6")
    return Header(name, position + BLOCK, size if holds_data else 0, kind)


def pax_records(data: bytes) -> dict[bytes, bytes]:
    r"""Records of "LENGTH KEY=VALUE\n" (POSIX.1-2001). Raises ValueError where they are not."""
    records = {}
    while data.strip(b"\0"):
        digits, space, _ = data.partition(b" ")
        length = int(digits)
        record = data[len(digits) + 1 : length]
        key, equals, value = record[:-1].partition(b"=")
        if not space or not equals or length > len(data) or record[-1:] != b"\n":
            raise ValueError(f"a record of length {length}")
        if key.startswith(b"GNU.sparse"):
            raise ValueError("a sparse file")
        records[key] = value
        data = data[length:]
    return records


def _plain(name: bytes) -> bytes:
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/")
    return name
