"""Pictures inside archives: where each lies, and which members are refused. Nothing is ever unpacked to the disk."""

import re
from dataclasses import dataclass

from pipeline.picture import SUFFIXES

TOO_LARGE = 1 << 30  # a picture file of a gigabyte is none; this bounds memory
ABOUT_LIMIT = 1 << 16  # of the JSON beside a picture in a WebDataset tar
NO_CRC = 1 << 32
ARCHIVE_SUFFIXES = (".tar", ".zip", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")


@dataclass(frozen=True)
class Member:
    """A member's place in its archive, in bytes."""

    offset: int
    """Of the data in a tar, whose header is the block before; of the local header in a zip."""
    size: int
    packed: int
    """Bytes that it takes in the archive: `size`, unless it is deflated."""
    deflated: int = 0
    crc32: int = NO_CRC
    """Of the data, where the archive knows it."""
    about_offset: int = 0
    about_size: int = 0
    """The JSON with the same key, in a WebDataset tar; 0 bytes where there is none."""


@dataclass(frozen=True)
class Refused:
    """A member that looks like a picture and is left out, and why."""

    kind: str
    reason: str


def is_picture(name: bytes) -> bool:
    return suffix(name) in SUFFIXES


def is_nifti(name: str) -> bool:
    return name.lower().endswith((".nii", ".nii.gz"))


def is_volume(name: str) -> bool:
    """A file of slices rather than one picture."""
    return is_nifti(name) or name.lower().endswith(".npy")


def is_source(name: bytes, slices: bool) -> bool:
    """A picture, or if wanted a volume of slices."""
    return is_picture(name) or (slices and is_volume(name.decode("ascii", "replace")))


def is_archive(name: bytes) -> bool:
    return name.lower().decode("ascii", "replace").endswith(ARCHIVE_SUFFIXES)


def suffix(name: bytes) -> str:
    base = name.rpartition(b"/")[2]
    return ("." + base.rpartition(b".")[2].decode("ascii", "replace")).lower() if b"." in base else ""


def is_hidden(name: bytes) -> bool:
    """Such as the resource forks that macOS puts into archives."""
    return any(part.startswith((b".", b"__MACOSX")) and part not in (b".", b"..") for part in name.split(b"/"))


def unsafe_name(name: bytes) -> str:
    """Why a name is refused, or nothing. Names are never paths here, but whoever reads the set may use them so."""
    if name.startswith((b"/", b"\\")) or re.match(rb"[A-Za-z]:[\\/]", name):
        return "an absolute name in an archive"
    if b".." in re.split(rb"[\\/]", name):
        return "a name in an archive that climbs out of it (..)"
    return ""


def refuse(name: bytes, size: int, packed: int) -> Refused | None:
    """What is wrong with a member by its name and sizes alone."""
    if reason := unsafe_name(name):
        return Refused("unsafe", reason)
    if size > TOO_LARGE:
        return Refused("unsafe", f"{size:,} bytes, wanted at most {TOO_LARGE:,}")
    # Deflate reaches 1,032 at most; a flat bitmap of a few megabytes may as well, a picture of 16 MB does not.
    if size > 1 << 24 and size > 256 * packed:
        return Refused("unsafe", f"{packed:,} bytes that expand to {size:,}: a bomb")
    return None
