"""The one table of kinds of picture files that are denoised, told apart by their first bytes."""

from pathlib import Path

from pipeline.errors import BadInput
from pipeline.exr.container import MAGIC
from pipeline.stills.npy_stills import NpyKind
from pipeline.stills.photo_stills import PhotoKind
from pipeline.stills.stills import Kind, Stills
from pipeline.stills.tiff_stills import TiffKind

KINDS: tuple[Kind, ...] = (NpyKind(), TiffKind(), PhotoKind())
STILL_SUFFIXES = {suffix for kind in KINDS for suffix in kind.suffixes}


def open_stills(path: Path) -> Stills:
    """Open a file of pictures. Raises BadInput where it is none, is damaged, or cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
        if not head:
            raise BadInput("an empty file", path, "0 bytes", "a picture", "replace it, or take it away")
        if head.startswith(MAGIC):
            wanted = "a picture, or weights that were trained on renders"
            raise BadInput("an OpenEXR frame for a denoiser of pictures", path, "radiance", wanted, "--weights render")
        return next(kind for kind in KINDS if kind.fits(head)).open(path)
    except OSError as error:
        raise BadInput("a picture cannot be read", path, error.strerror or str(error)) from error
