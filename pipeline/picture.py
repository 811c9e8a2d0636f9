"""Picture files in and out: bytes of any common format <-> (C, H, W) arrays of 8 or 16 bits."""

import contextlib
import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.compiled import core
from pipeline.errors import BadInput

Pixels = NDArray[Any]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
MAX_PIXELS = 178_956_970  # Pillow's own bound against decompression bombs: half a gigabyte of RGB
JPEG_QUALITY = 95
ORIENTATION = 0x0112  # of EXIF: from 2 to 8 where a picture is to be turned


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright, its samples as encoded in the file (sRGB unless the file says otherwise)."""

    pixels: Pixels
    """(C, H, W), uint8 or uint16; C is 1 for greyscale and 3 for colour. Laid out as decoders do, pixel by pixel: to
    lay out a whole picture by channels takes a fifth of its decoding, and is wasted where a crop is wanted."""
    alpha: Pixels | None
    """(1, H, W) of the same type, where the file has transparency."""
    icc_profile: bytes | None
    """The file's colour profile, to be written again with the picture."""

    @property
    def bits(self) -> int:
        return 8 * int(self.pixels.dtype.itemsize)

    @property
    def peak(self) -> int:
        """The value of white: 255 or 65535."""
        return (1 << self.bits) - 1


def decode(data: bytes, where: object, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a picture file; `where` names it in messages.

    Greyscale, palette, CMYK, alpha, 8 and 16 bits, EXIF orientation (applied). Raises BadInput for anything that
    is not one whole picture of at most `max_pixels` pixels: truncated, animated, of another kind, or float.
    """
    # Ours is checked below, per call and with a message; Pillow's is global and warns first.
    Image.MAX_IMAGE_PIXELS = None
    try:
        if sixteen_bit_tiff(data):
            return _decode_16_bit_tiff(data, where, max_pixels)
        with Image.open(io.BytesIO(data)) as image:
            frames = getattr(image, "n_frames", 1)
            refuse_unfit(image.size, frames, image.mode == "F", where, max_pixels)
            # A profile of four inks does not describe the RGB that Pillow makes of them.
            icc_profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
            if sixteen_bit_colour_png(data):
                return _from_samples(imagecodecs.png_decode(data), icc_profile)
            if plain_jpeg(image, data):
                with contextlib.suppress(imagecodecs.Jpeg8Error):  # what it cannot do, Pillow does or explains
                    return _from_samples(imagecodecs.jpeg8_decode(data), icc_profile)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # without copying a picture that is upright
            return _from_pillow(image, icc_profile)
    except BadInput:
        raise
    # Decoders answer damage with OSError, SyntaxError, ValueError, struct.error, zlib.error and others.
    except Exception as error:
        raise BadInput(
            "not a readable picture",
            where=where,
            got=f"{len(data)} bytes that do not decode ({reason_of(error)})",
            wanted="a whole JPEG, PNG, WebP, BMP or TIFF",
            todo="replace the file, or take it away",
        ) from error


def reason_of(error: Exception) -> str:
    """A decoder's words without the address of our buffer in them: what is left out is listed the same every time."""
    return re.sub(r" ?<_io\.BytesIO[^>]*>", "", str(error))


def refuse_unfit(size: tuple[int, int], frames: int, floating: bool, where: object, max_pixels: int) -> None:
    """Refuse by the header alone, before memory is taken for the pixels."""
    width, height = size
    if frames > 1:
        raise BadInput("a picture of several frames", where, f"{frames} frames", "one", "split it into single pictures")
    if width * height > max_pixels:
        raise BadInput(
            "a picture too large to decode",
            where,
            f"{width} x {height} = {width * height:,} pixels",
            f"at most {max_pixels:,}",
            "cut or scale it down first",
        )
    if floating:
        raise BadInput("a picture of floating-point values", where, "float", "8 or 16 bits", "convert it first")


# Pillow knows 16 bits in greyscale alone: colour it cuts to 8 bits without a word, grey with alpha it cannot open.


def sixteen_bit_colour_png(data: bytes) -> bool:
    """By bit depth and colour type of the header chunk."""
    return data[:4] == b"\x89PNG" and data[24] == 16 and data[25] in (2, 4, 6)


def plain_jpeg(image: Image.Image, data: bytes) -> bool:
    """Whether libjpeg-turbo alone makes of a whole file what Pillow makes of it, in three quarters of the time.

    A file without its end goes to Pillow, which then says so.
    """
    if image.format != "JPEG" or image.mode not in ("L", "RGB") or not data.endswith(b"\xff\xd9"):
        return False
    return image.getexif().get(ORIENTATION, 1) not in range(2, 9)


def sixteen_bit_tiff(data: bytes) -> bool:
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return file.pages[0].dtype == np.uint16


def _decode_16_bit_tiff(data: bytes, where: object, max_pixels: int) -> Picture:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0].aspage()
        refuse_unfit((page.imagewidth, page.imagelength), len(file.pages), False, where, max_pixels)
        profile = page.tags.get("InterColorProfile")
        samples = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and samples.ndim == 3:
            samples = samples.transpose(1, 2, 0)
        return _from_samples(samples, profile.value if profile else None)


def _from_samples(samples: Pixels, icc_profile: bytes | None) -> Picture:
    """(H, W) or (H, W, 1..4): greyscale or colour, with alpha where there is one channel more."""
    samples = np.atleast_3d(samples).transpose(2, 0, 1)
    colours = 1 if len(samples) <= 2 else 3
    alpha = samples[colours:] if len(samples) > colours else None
    return Picture(samples[:colours], alpha, icc_profile)


def _from_pillow(image: Image.Image, icc_profile: bytes | None) -> Picture:
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"integers from {grey.min()} to {grey.max()}, more than 16 bits")
        return _from_samples(grey.astype(np.uint16), icc_profile)
    transparent = "A" in image.mode or "a" in image.mode or "transparency" in image.info
    grey_mode = image.mode in ("1", "L", "LA", "La")
    mode = ("LA" if transparent else "L") if grey_mode else ("RGBA" if transparent else "RGB")
    # To convert a picture to the mode that it has would copy it.
    return _from_samples(np.asarray(image if image.mode == mode else image.convert(mode)), icc_profile)


def to_unit(pixels: Pixels, unit: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """(C, H, W) of 8 or 16 bits -> the same in three channels as float32 in [0, 1]; greyscale is repeated.

    Into `unit` (3, H, W) where it is given, in one go whatever the pixels' layout.
    """
    unit = np.empty((3, *pixels.shape[1:]), np.float32) if unit is None else unit
    if core:
        core.cut(unit, pixels)
        return unit
    return np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), out=unit, dtype=np.float32)


def from_unit(unit: NDArray[np.float32], bits: int) -> Pixels:
    """Float [0, 1] -> 8 or 16 bits: rounded half up and clipped, as the published evaluation does."""
    peak = (1 << bits) - 1
    return np.clip(np.floor(unit * peak + 0.5), 0, peak).astype(np.uint8 if bits == 8 else np.uint16)


def encode(picture: Picture, suffix: str, exif: bytes | None = None) -> bytes:
    """Encode as the format of a file suffix. 16 bits go into PNG and TIFF; other formats hold 8.

    EXIF, from its TIFF header or the mark before it on, is written into JPEG, PNG and WebP.
    """
    suffix = suffix.lower()
    planes = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha])
    samples = planes.transpose(1, 2, 0)
    if picture.bits == 16:
        return _encode_16_bit(samples, suffix, picture.icc_profile, exif)
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    options: dict[str, Any] = {"icc_profile": picture.icc_profile} if picture.icc_profile else {}
    if exif and suffix in (".jpg", ".jpeg", ".png", ".webp"):
        options["exif"] = exif
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": JPEG_QUALITY, "subsampling": 0}
    if suffix == ".webp":
        options |= {"lossless": True}
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()[suffix], **options)
    return file.getvalue()


def _encode_16_bit(samples: Pixels, suffix: str, icc_profile: bytes | None, exif: bytes | None) -> bytes:
    channels = samples.shape[2]
    samples = np.ascontiguousarray(samples[..., 0] if channels == 1 else samples)
    if suffix in (".tif", ".tiff"):
        file = io.BytesIO()
        tifffile.imwrite(
            file,
            samples,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            iccprofile=icc_profile,
            metadata=None,
        )
        return file.getvalue()
    if suffix == ".png":
        data = bytes(imagecodecs.png_encode(samples))
        if exif:
            data = _with_chunk(data, b"eXIf" + exif.removeprefix(b"Exif\0\0"))
        return _with_chunk(data, b"iCCPicc\0\0" + zlib.compress(icc_profile)) if icc_profile else data
    raise ValueError(f"{suffix} cannot hold 16 bits")


def _with_chunk(png: bytes, kind_and_body: bytes) -> bytes:
    """A PNG with a chunk put in after its header chunk (ISO 15948; iCCP and eXIf may stand there)."""
    chunk = struct.pack(">I", len(kind_and_body) - 4) + kind_and_body + struct.pack(">I", zlib.crc32(kind_and_body))
    after_header = 8 + 25  # signature; length, kind, 13 bytes and checksum of IHDR
    return png[:after_header] + chunk + png[after_header:]
