"""Volumes -> greyscale slices: NIfTI files (.nii, .nii.gz) and .npy arrays, as scanners and laboratories have them.

Intensities without a scale of their own are divided by the largest of their volume, as for the published results on
magnetic resonance images, and stored in 16 bits; an array of 8 or 16 bits is taken for what it is.
"""

import io
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.picture import Pixels
from pipeline.sharding.storage import load_npy
from pipeline.sources.members import is_nifti

MAX_VOXELS = 1 << 27  # 512^3
HEADER = 1 << 20  # more than any header with its extensions
NIFTI_1, NIFTI_2 = 348, 540  # what such a file begins with: the size of its header, in either byte order
WHITE = 65535
EMPTY = 1 / 255  # of the volume's largest value: a slice that nowhere exceeds it holds nothing but air


@dataclass(frozen=True)
class Slices:
    """What is in a volume."""

    pixels: list[Pixels]
    """(1, H, W) each, from the bottom of a head to its top."""
    numbers: list[int]
    """Which of the volume's slices they are: empty ones are left out."""
    total: int
    scale: float | None
    """The intensity that became white; None where values are as in the file."""


def is_picture_npy(data: bytes) -> bool:
    """Whether a file is a .npy of (1 or 3, H, W) in 8 or 16 bits, by its header: a picture, not slices."""
    if not data.startswith(b"\x93NUMPY"):
        return False
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
    except ValueError:
        return False
    return len(shape) == 3 and shape[0] in (1, 3) and kind in (np.uint8, np.uint16)


def read_slices(data: bytes, name: str, where: object) -> Slices:
    """The slices of a volume file. Raises BadInput where it is none."""
    volume = read_nifti(data, where) if is_nifti(name) else load_npy(data, where)
    volume = volume[None] if volume.ndim == 2 else volume
    if volume.ndim != 3 or volume.dtype.kind not in "uif" or not volume.size:
        raise BadInput("not a volume", where, f"{volume.dtype} {volume.shape}", "real numbers of 2 or 3 dimensions")
    if volume.dtype.kind == "f" and not np.isfinite(volume).all():
        raise BadInput("a volume with gaps", where, "values that are not finite", "a number everywhere")
    return scaled(volume, where)


def scaled(volume: NDArray[Any], where: object) -> Slices:
    """A volume (Z, H, W) in 8 or 16 bits without its empty slices; what is below zero becomes zero."""
    largest = float(volume.max())
    if largest <= 0:
        raise BadInput("an empty volume", where, f"values up to {largest:g}", "something brighter than 0")
    as_it_is = volume.dtype in (np.uint8, np.uint16)
    numbers = [number for number, plane in enumerate(volume) if float(plane.max()) > EMPTY * largest]
    planes = [volume[number] for number in numbers]
    if not as_it_is:
        planes = [(np.clip(plane.astype(np.float64) / largest, 0, 1) * WHITE + 0.5).astype(np.uint16)
                  for plane in planes]  # fmt: skip
    return Slices([plane[None] for plane in planes], numbers, len(volume), None if as_it_is else largest)


def read_nifti(data: bytes, where: object) -> NDArray[Any]:
    """The intensities of a NIfTI file as (Z, H, W): axial slices, each with the front of the head at the top."""
    nibabel = require_nibabel(where)
    try:
        data = decompressed(data) if data[:2] == b"\x1f\x8b" else data
        sizes = {int.from_bytes(data[:4], order) for order in ("little", "big")}
        kind = nibabel.Nifti2Image if NIFTI_2 in sizes else nibabel.Nifti1Image
        image = kind.from_bytes(data)
        shape = image.shape[:3] + tuple(length for length in image.shape[3:] if length != 1)
        if len(shape) != 3 or np.prod(shape, dtype=float) > MAX_VOXELS:
            raise ValueError(f"{image.shape} values, wanted three dimensions and at most {MAX_VOXELS:,} in all")
        values = np.asanyarray(nibabel.as_closest_canonical(image).dataobj).reshape(shape)
    # Damage is answered with errors of nibabel's own, ValueError, EOFError, zlib.error and others.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BadInput("not a readable volume", where, f"{len(data)} bytes ({reason})", "a NIfTI file") from error
    return values.transpose(2, 1, 0)[:, ::-1]


def decompressed(data: bytes) -> bytes:
    """Of gzip, within bounds: the largest volume allowed, in double precision."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    plain = stream.decompress(data, 8 * MAX_VOXELS + HEADER)
    if not stream.eof:
        raise ValueError("cut short" if len(plain) < 8 * MAX_VOXELS else "expands to gigabytes")
    return plain


def require_nibabel(where: object) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise BadInput(
            "NIfTI files need another package", where, "no nibabel", "nibabel", "pip install -e '.[mri]'"
        ) from error
    return nibabel
