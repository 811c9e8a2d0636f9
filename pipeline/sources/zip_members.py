"""Zip archives read in place: stored and deflated members, as COCO comes."""

import os
import stat
import zipfile
from collections.abc import Iterator

from pipeline.errors import BadInput
from pipeline.remote.place import Place
from pipeline.sources.members import Member, Refused, is_archive, is_hidden, is_source, refuse

ENCRYPTED = 1  # bit of a member's flags


def zip_pictures(path: Place, slices: bool = False) -> Iterator[tuple[bytes, Member | Refused]]:
    """Names and places of the pictures of an archive, in its own order. Raises BadInput where it is damaged."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            entries, length = archive.infolist(), file.seek(0, os.SEEK_END)
    # A damaged directory is answered with any of these.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OverflowError, IndexError) as error:
        raise BadInput(
            "a damaged zip", path, str(error), "a whole zip archive", "get it again, or mend it with `zip -FF`"
        ) from error
    for entry in entries:
        name = os.fsencode(entry.orig_filename)
        if entry.is_dir() or is_hidden(name):
            continue
        if is_archive(name):
            yield name, Refused("unsafe", "an archive inside a zip; name it by itself")
        elif is_source(name, slices):
            yield name, _picture(entry, name, length)


def _picture(entry: zipfile.ZipInfo, name: bytes, length: int) -> Member | Refused:
    if stat.S_ISLNK(entry.external_attr >> 16):
        return Refused("unsafe", "a link, not a file of its own")
    if entry.flag_bits & ENCRYPTED:
        return Refused("unreadable", "encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Refused("unreadable", f"compressed by method {entry.compress_type}, wanted stored or deflated")
    if entry.header_offset + entry.compress_size > length:
        return Refused("unreadable", f"{entry.compress_size:,} bytes that end past the archive")
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    member = Member(entry.header_offset, entry.file_size, entry.compress_size, int(deflated), entry.CRC)
    return refuse(name, entry.file_size, entry.compress_size) or member
