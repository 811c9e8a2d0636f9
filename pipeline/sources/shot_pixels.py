"""A file's shots as arrays: pictures of 8 and 16 bits, TIFF pages of integers or floats, .npy."""

import io
import os

import numpy as np
import tifffile

from pipeline.errors import BadInput
from pipeline.picture import MAX_PIXELS, Pixels, decode

KINDS = "uint8, uint16, float16 or float32"
PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)


def read_shots(data: bytes, where: object) -> list[Pixels]:
    """The shots in a file's bytes, each (C, H, W) with C of 1 or 3, as stored; float64 becomes float32.

    A TIFF's pages and the first axis of a 4-dimensional .npy are shots; a .npy of 2 dimensions is a grey picture,
    of 3 dimensions (C, H, W), or (shots, H, W) where the first is not 1 or 3. Raises BadInput where it is neither.
    """
    suffix = os.path.splitext(str(where))[1].lower()
    if suffix == ".npy":
        shots = from_npy(data, where)
    elif suffix in (".tif", ".tiff"):
        shots = from_tiff(data, where)
    else:
        shots = [decode(data, where).pixels]
    return [checked(shot, where) for shot in shots]


def from_npy(data: bytes, where: object) -> list[Pixels]:
    try:
        array: Pixels = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadInput("not a readable .npy", where, str(error), "an array") from error
    if array.ndim == 2:
        return [array[None]]
    if array.ndim == 3:
        return [array] if len(array) in (1, 3) else [page[None] for page in array]
    if array.ndim == 4:
        return list(array)
    raise BadInput("not a picture", where, f"{array.ndim} dimensions", "(H, W), (C, H, W) or (shots, C, H, W)")


def from_tiff(data: bytes, where: object) -> list[Pixels]:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [page.aspage() for page in file.pages]
            if not pages:
                raise BadInput("not a readable TIFF", where, "no page", "a whole TIFF")
            if len(pages) == 1 and pages[0].photometric not in PLAIN:
                return [decode(data, where).pixels]  # palettes, inverted grey, inks
            return [from_page(page, where) for page in pages]
    except BadInput:
        raise
    except Exception as error:  # decoders answer damage with many kinds
        raise BadInput("not a readable TIFF", where, f"{type(error).__name__}: {error}", "a whole TIFF") from error


def from_page(page: tifffile.TiffPage, where: object) -> Pixels:
    if page.photometric not in PLAIN:
        raise BadInput("a stack of unfit pages", where, str(page.photometric), "grey or RGB pages")
    if page.imagewidth * page.imagelength > MAX_PIXELS:
        raise BadInput("a page too large", where, f"{page.imagewidth} x {page.imagelength}", f"{MAX_PIXELS} pixels")
    samples = page.asarray()
    if samples.ndim == 2:
        return samples[None]
    if page.planarconfig == tifffile.PLANARCONFIG.CONTIG:
        samples = samples.transpose(2, 0, 1)
    return samples[:3] if len(samples) in (3, 4) else samples[:1]  # without transparency


def checked(shot: Pixels, where: object) -> Pixels:
    if shot.dtype == np.float64:
        shot = shot.astype(np.float32)
    shot = shot.astype(shot.dtype.newbyteorder("="), copy=False)
    if shot.dtype.name not in KINDS.replace(" or", ",").split(", "):
        raise BadInput("pixels of an unfit type", where, str(shot.dtype), KINDS)
    if shot.ndim != 3 or len(shot) not in (1, 3) or 0 in shot.shape:
        raise BadInput("not a picture", where, f"shape {shot.shape}", "1 or 3 channels")
    if shot.dtype.kind == "f" and not np.isfinite(shot).all():
        raise BadInput("values that are no numbers", where, f"{np.sum(~np.isfinite(shot))} not finite", "finite values")
    return np.ascontiguousarray(shot)
