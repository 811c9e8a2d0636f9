"""Picture files in and out: bytes of any common format <-> (C, H, W) arrays of 8 or 16 bits."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.errors import BadInput

Pixels = NDArray[Any]

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
MAX_PIXELS = 178_956_970  # Pillow's own bound against decompression bombs: half a gigabyte of RGB
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright, its samples as encoded in the file (sRGB unless the file says otherwise)."""

    pixels: Pixels
    """(C, H, W), uint8 or uint16; C is 1 for greyscale and 3 for colour."""
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
        with Image.open(io.BytesIO(data)) as image:
            refuse_unfit(image, where, max_pixels)
            if sixteen_bit_colour(image, data):
                return _decode_16_bit_colour(image, data)
            icc_profile = image.info.get("icc_profile")
            image.load()
            return _from_pillow(ImageOps.exif_transpose(image), icc_profile)
    except BadInput:
        raise
    # Decoders answer damage with OSError, SyntaxError, ValueError, struct.error, zlib.error and others.
    except Exception as error:
        raise BadInput(
            "not a readable picture",
            where=where,
            got=f"{len(data)} bytes that do not decode ({error})",
            wanted="a whole JPEG, PNG, WebP, BMP or TIFF",
            todo="replace the file, or take it away",
        ) from error


def refuse_unfit(image: Image.Image, where: object, max_pixels: int) -> None:
    """Refuse by the header alone, before memory is taken for the pixels."""
    width, height = image.size
    frames = getattr(image, "n_frames", 1)
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
    if image.mode == "F":
        raise BadInput("a picture of floating-point values", where, "mode F", "8 or 16 bits", "convert it first")


def sixteen_bit_colour(image: Image.Image, data: bytes) -> bool:
    """Whether Pillow would silently cut this file to 8 bits: it knows 16 bits in greyscale only."""
    if image.format == "PNG":
        return data[24] == 16 and data[25] in (2, 4, 6)  # bit depth and colour type of the IHDR chunk
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]  # BitsPerSample; only TIFF has tags
        return len(bits) > 1 and max(bits) == 16
    return False


def _decode_16_bit_colour(image: Image.Image, data: bytes) -> Picture:
    if image.format == "PNG":
        import torch
        from torchvision.io import ImageReadMode, decode_image

        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        samples = decode_image(encoded, mode=ImageReadMode.UNCHANGED).numpy()
    else:
        import tifffile

        samples = tifffile.imread(io.BytesIO(data))
        samples = samples.transpose(2, 0, 1) if samples.shape[-1] in (2, 3, 4) else samples
    colours = 1 if len(samples) == 2 else 3
    alpha = samples[colours : colours + 1] if len(samples) > colours else None
    return Picture(np.ascontiguousarray(samples[:colours]), alpha, image.info.get("icc_profile"))


def _from_pillow(image: Image.Image, icc_profile: bytes | None) -> Picture:
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"integers from {grey.min()} to {grey.max()}, more than 16 bits")
        return Picture(grey.astype(np.uint16)[None], None, icc_profile)
    transparent = "A" in image.mode or "a" in image.mode or "transparency" in image.info
    grey_mode = image.mode in ("1", "L", "LA", "La")
    image = image.convert(("LA" if transparent else "L") if grey_mode else ("RGBA" if transparent else "RGB"))
    samples = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    colours = 1 if grey_mode else 3
    alpha = samples[colours:] if transparent else None
    # A profile of four inks does not describe the RGB that Pillow made of them.
    return Picture(np.ascontiguousarray(samples[:colours]), alpha, icc_profile)


def to_unit(pixels: Pixels) -> NDArray[np.float32]:
    """(C, H, W) of 8 or 16 bits -> the same in three channels as float32 in [0, 1]; greyscale is repeated."""
    peak = np.float32(np.iinfo(pixels.dtype).max)
    unit = pixels.astype(np.float32) / peak
    return np.repeat(unit, 3, axis=0) if len(unit) == 1 else unit


def from_unit(unit: NDArray[np.float32], bits: int) -> Pixels:
    """Float [0, 1] -> 8 or 16 bits: rounded half up and clipped, as the published evaluation does."""
    peak = (1 << bits) - 1
    return np.clip(np.floor(unit * peak + 0.5), 0, peak).astype(np.uint8 if bits == 8 else np.uint16)


def encode(picture: Picture, suffix: str) -> bytes:
    """Encode as the format of a file suffix. 16 bits go into PNG and TIFF; other formats hold 8."""
    suffix = suffix.lower()
    parts = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]
    samples = np.concatenate(parts).transpose(1, 2, 0)
    if picture.bits == 16:
        return _encode_16_bit(samples, suffix, picture.icc_profile)
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    options: dict[str, Any] = {"icc_profile": picture.icc_profile} if picture.icc_profile else {}
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": JPEG_QUALITY, "subsampling": 0}
    if suffix == ".webp":
        options |= {"lossless": True}
    file = io.BytesIO()
    image.save(file, Image.registered_extensions()[suffix], **options)
    return file.getvalue()


def _encode_16_bit(samples: Pixels, suffix: str, icc_profile: bytes | None) -> bytes:
    if suffix in (".tif", ".tiff"):
        import tifffile

        file = io.BytesIO()
        photometric = "rgb" if samples.shape[2] >= 3 else "minisblack"
        extra = ["unassalpha"] if samples.shape[2] in (2, 4) else None
        squeezed = samples[..., 0] if samples.shape[2] == 1 else samples
        tifffile.imwrite(
            file,
            squeezed,
            photometric=photometric,
            extrasamples=extra,
            planarconfig="contig",
            iccprofile=icc_profile,
        )
        return file.getvalue()
    if suffix == ".png":
        return _encode_16_bit_png(samples, icc_profile)
    raise ValueError(f"{suffix} cannot hold 16 bits")


def _encode_16_bit_png(samples: Pixels, icc_profile: bytes | None) -> bytes:
    """A PNG of 16 bits a sample (ISO 15948), here because neither Pillow nor torchvision writes one in colour."""
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = samples.astype(">u2").reshape(height, width * channels).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.hstack([np.full((height, 1), 2, np.uint8), rows - above])  # filter 2: difference to the row above

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc_profile)) if icc_profile else b""
    body = chunk(b"IDAT", zlib.compress(filtered.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + profile + body + chunk(b"IEND", b"")
