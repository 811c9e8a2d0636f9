"""Photographs: PNG, JPEG, WebP, BMP, and those TIFFs that are not plain grey or colour; with EXIF and profile."""

import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from pipeline.errors import BadInput
from pipeline.picture import SUFFIXES, Picture, Pixels, decode, encode
from pipeline.stills.stills import Stills, split_channels

MAX_PIXELS = 1 << 30  # a person named this file, so only what cannot be held is refused


class PhotoKind:
    suffixes: tuple[str, ...] = tuple(sorted(SUFFIXES))

    def fits(self, head: bytes) -> bool:
        return bool(head)  # whatever no other kind has claimed: the decoder says what is wrong with it

    def open(self, path: Path) -> Stills:
        data = path.read_bytes()
        picture = decode(data, path, MAX_PIXELS)
        # Decoders lay pixels out as the samples are, so this is no copy, which of a large picture would be missed.
        planes = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha])
        exif, suffix = outside_pixels(data)
        about = {"icc_profile": picture.icc_profile, "exif": exif, "suffix": suffix, "colours": len(picture.pixels)}

        def view(samples: Pixels) -> tuple[Pixels, Pixels | None]:
            return split_channels(samples[None], path)

        return Stills(planes.transpose(1, 2, 0), view, self, about)

    def create(self, path: Path, source: Stills) -> Pixels:
        return np.empty_like(source.samples)

    def finish(self, path: Path, samples: Pixels, source: Stills, suffix: str) -> None:
        planes = samples.transpose(2, 0, 1)
        colours = source.about["colours"]
        alpha = planes[colours:] if len(planes) > colours else None
        picture = Picture(planes[:colours], alpha, source.about["icc_profile"])
        if picture.bits == 16 and suffix not in (".png", ".tif", ".tiff"):
            raise BadInput("a name that cannot hold 16 bits", path, suffix, ".png or .tif", "rename the picture")
        path.write_bytes(encode(picture, suffix, source.about["exif"]))


def outside_pixels(data: bytes) -> tuple[bytes | None, str]:
    """The EXIF of a file without its orientation, which decoding has applied, and the suffix of its format."""
    with Image.open(io.BytesIO(data)) as image:
        exif = Image.Exif()
        exif.load(image.info.get("exif") or b"")  # getexif would decode a PNG, and cannot where it has 16 bits
        suffix = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}[str(image.format)]
    exif.pop(ExifTags.Base.Orientation, None)
    return (exif.tobytes() if len(exif) and suffix != ".tif" else None), suffix
