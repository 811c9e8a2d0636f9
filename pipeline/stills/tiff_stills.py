"""TIFF: 8 and 16 bits and float, stacks of pages, grey and colour with transparency, of any compression."""

import logging.handlers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from pipeline.errors import BadInput
from pipeline.picture import Pixels
from pipeline.stills.photo_stills import PhotoKind
from pipeline.stills.stills import (
    FLOATS,
    INTEGERS,
    Stills,
    check_shape,
    forget,
    no_type,
    readable,
    scratch,
    split_channels,
    take_room,
)

PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
UNPACK = 1 << 26  # bytes of decoded pixels, from which they go to a scratch file rather than into memory
BUFFER = 1 << 24  # bytes read or written in one go
TEXTS = {271: "make", 272: "model", 306: "date", 315: "artist", 33432: "copyright"}
LOSSLESS = {1, 5, 8, 32773, 32946, 34925, 50000}  # none, LZW, Deflate, PackBits, old Deflate, LZMA, Zstandard


class TiffKind:
    suffixes: tuple[str, ...] = (".tif", ".tiff")

    def fits(self, head: bytes) -> bool:
        return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def open(self, path: Path) -> Stills:
        with readable(path), tifffile.TiffFile(path) as file:
            pages = all_pages(file, path)
            page = pages[0]
            if page.photometric not in PLAIN or (page.dtype not in (*FLOATS, *INTEGERS) and page.bitspersample == 1):
                return PhotoKind().open(path)
            if page.dtype not in (*FLOATS, *INTEGERS):
                raise no_type(page.dtype, path)
            check_shape(page.shape, path)
            different = next((p.shape for p in pages if (p.shape, p.dtype) != (page.shape, page.dtype)), None)
            if different is not None:
                got = f"{page.shape} and {different}"
                raise BadInput("pages of different sizes", path, got, "a stack of equal pages", "split it first")
            plain = page.is_memmappable and len(pages) == 1
            scratched = not plain and page.nbytes * len(pages) > UNPACK
            if plain:
                samples: Pixels = tifffile.memmap(path, page=0, mode="r")
            elif scratched:
                samples = unpacked(pages)
            else:
                samples = pages[0].asarray() if len(pages) == 1 else np.stack([p.asarray() for p in pages])
            about = metadata(page)
        stack, planar = len(pages) > 1, page.planarconfig == tifffile.PLANARCONFIG.SEPARATE

        def view(samples: Pixels) -> tuple[Pixels, Pixels | None]:
            frames = samples if stack else samples[None]
            if frames.ndim == 3:
                frames = frames[..., None]
            elif planar:
                frames = np.moveaxis(frames, 1, -1)
            return split_channels(frames, path)

        return Stills(samples, view, self, about, unpacked=scratched)

    def create(self, path: Path, source: Stills) -> Pixels:
        shape, dtype = source.samples.shape, source.samples.dtype
        if source.unpacked:
            return scratch(shape, dtype)
        if not source.mapped:
            return np.empty_like(source.samples)
        array: Pixels = tifffile.memmap(path, shape=shape, dtype=dtype, **source.about, bigtiff=is_big(source))
        take_room(path)
        return array

    def finish(self, path: Path, samples: Pixels, source: Stills, suffix: str) -> None:
        if suffix not in self.suffixes:
            raise BadInput("a TIFF under another name", path, suffix, ".tif or .tiff", "rename the picture")
        if isinstance(samples, np.memmap) and not source.unpacked:
            samples.flush()
            return
        about = {**source.about}
        about["compression"] = about.pop("packed", None)
        # Strip by strip; of samples in a scratch file, only the strips at hand are in memory.
        tifffile.imwrite(path, samples, **about, bigtiff=is_big(source), maxworkers=1, buffersize=BUFFER)


def all_pages(file: tifffile.TiffFile, path: Path) -> list[tifffile.TiffPage]:
    """Raises BadInput where the chain of pages is cut: tifffile tells its log alone, and ends the list."""
    told = logging.handlers.BufferingHandler(100)
    logger = logging.getLogger("tifffile")
    logger.addHandler(told)
    try:
        pages = [page.aspage() for page in file.pages]
    finally:
        logger.removeHandler(told)
    cut = [record.getMessage() for record in told.buffer if "page offset" in record.getMessage()]
    if cut:
        raise BadInput("a TIFF that has lost pages", path, f"{len(pages)} pages, then {cut[0]}", "a whole file")
    return pages


def unpacked(pages: Sequence[tifffile.TiffPage]) -> Pixels:
    """All pages in a scratch file, decoded a few strips or tiles at a time: bounded memory, unless one is the page."""
    page = pages[0]
    shape = page.shape if len(pages) == 1 else (len(pages), *page.shape)
    samples = scratch(shape, np.dtype(page.dtype))
    for number, one in enumerate(pages):
        whole = samples.reshape(len(pages), *page.shaped)[number]
        written = 0
        for data, (plane, _, top, left, _), (_, height, width, _) in one.segments(maxworkers=1, buffersize=BUFFER):
            place = whole[plane, :, top : top + height, left : left + width]
            place[...] = 0 if data is None else data[:, : place.shape[1], : place.shape[2]]
            written += place.nbytes
            if written > UNPACK:
                forget(samples)
                written = 0
        forget(samples)
    return samples


def is_big(source: Stills) -> bool:
    return source.samples.nbytes > 4_000_000_000  # past that, offsets of 32 bits do not reach


def metadata(page: tifffile.TiffPage) -> dict[str, Any]:
    """What is written again with other pixels: layout, profile, resolution, description, and who took it when."""
    samples, tags = page.samplesperpixel, page.tags
    profile = tags.get("InterColorProfile")
    about: dict[str, Any] = {
        "photometric": "rgb" if samples >= 3 else "minisblack",
        "planarconfig": page.planarconfig if samples > 1 else None,
        "extrasamples": ["unassalpha"] if samples in (2, 4) else None,
        "iccprofile": profile.value if profile else None,
        "description": tags["ImageDescription"].value if "ImageDescription" in tags else None,
        "software": tags["Software"].value if "Software" in tags else False,
        "extratags": [(c, 2, 0, str(tags[c].value), True) for c in TEXTS if c in tags],
        "metadata": None,
    }
    if "XResolution" in tags and "YResolution" in tags:
        about["resolution"] = (tags["XResolution"].value, tags["YResolution"].value)
        about["resolutionunit"] = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else None
    if page.compression != 1:
        about["packed"] = page.compression if int(page.compression) in LOSSLESS else tifffile.COMPRESSION.ADOBE_DEFLATE
    return about
