"""The part of a JPEG that a crop needs, decoded without the rest: by nvImageCodec on the CPU, where it is installed.

libjpeg-turbo inside it reads the entropy-coded data down to the crop's last row, as that has no entry points, and
transforms, upsamples and converts the crop's blocks and their neighbours alone: the very pixels of the whole picture.
"""

import contextlib
import functools
import io
import os
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pipeline.geometry import corner
from pipeline.picture import MAX_PIXELS, Pixels, decode, plain_jpeg
from pipeline.sharding.header import EXIF, FRAMES, SCAN, SEVERAL, segments

LEAST = 16  # pixels: narrower parts of subsampled colour are enlarged without smoothing, which are other pixels
FRAME = struct.Struct(">BHHB")  # of a JPEG: bits, height, width, components
PROGRESSIVE = 0xC2
END = b"\xff\xd9"
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # within a scan 0 stands for a value of 255, and D0 to D7 restart it
PROBE = np.random.default_rng(0).integers(0, 256, (45, 61, 3), dtype=np.uint8)


def decode_around(data: bytes, where: object, size: int, place: Sequence[float]) -> Pixels:
    """A picture file's pixels, (C, H, W), for `geometry.view_at` to cut `size` pixels at `place` out of.

    They are the whole picture, or no more than what would be cut: the view is the same, bit for bit. Raises BadInput
    as `picture.decode` does.
    """
    decoder = part_decoder(os.getpid()) if size >= LEAST else None
    shape = plain_shape(data) if decoder else None
    if decoder and shape and min(shape[1:]) >= size:
        part = decoder.square(data, shape[0], *corner(shape[1], shape[2], size, place), size)
        if part is not None:
            return part
    return decode(data, where).pixels


def plain_shape(data: bytes) -> tuple[int, int, int] | None:
    """(C, H, W) of a JPEG that libjpeg-turbo alone decodes to what `picture.decode` makes of it, upright as it is.

    By its markers, in half of the time of opening it. None where that is not so, or not sure.
    """
    frame, shape, marked = 0, (0, 0, 0), False
    if not data.startswith(b"\xff\xd8") or not data.endswith(END):
        return None
    try:
        for marker, start, end in segments(data):
            if marker in FRAMES:
                bits, height, width, channels = FRAME.unpack_from(data, start)
                frame, shape = marker, (channels if bits == 8 else 0, height, width)
            elif marker == SCAN and frame != PROGRESSIVE and data[start] == shape[0] and not ends_with_scan(data, end):
                return None
            marked |= marker == EXIF or (marker == SEVERAL and data[start : start + 4] == b"MPF\0")
        plain = shape[0] in (1, 3) and 0 < shape[1] * shape[2] <= MAX_PIXELS
        if plain and marked:  # it may say that the picture is to be turned, or is the first of several
            with Image.open(io.BytesIO(data)) as image:
                plain = plain_jpeg(image, data)
    except Exception:  # the decoder says what is wrong with it
        return None
    return shape if plain else None


def ends_with_scan(data: bytes, scan: int) -> bool:
    """Whether nothing but one scan's data and the end follow from byte `scan` on.

    Else something may be wrong there that a decoder of the whole stumbles over and one of a part never meets. Files of
    several scans are read to their end in any case.
    """
    found = MARKER.search(data, scan)
    return found is not None and found.start() == len(data) - len(END)


class PartDecoder:
    """nvImageCodec without a GPU and without threads of its own."""

    def __init__(self) -> None:
        """Raises ImportError where it is not installed."""
        from nvidia import nvimgcodec

        self.library: Any = nvimgcodec
        backends = [nvimgcodec.Backend(nvimgcodec.BackendKind.CPU_ONLY)]
        self.decoder = nvimgcodec.Decoder(nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY, 1, backends, ":fancy_upsampling=1")
        spaces = {1: nvimgcodec.ColorSpec.GRAY, 3: nvimgcodec.ColorSpec.SRGB}
        self.params = {
            channels: nvimgcodec.DecodeParams(apply_exif_orientation=False, color_spec=space)
            for channels, space in spaces.items()
        }

    def square(self, data: bytes, channels: int, top: int, left: int, size: int) -> Pixels | None:
        """So many pixels each way of a JPEG of so many channels, (C, size, size); None where it cannot."""
        region = self.library.Region(top, left, top + size, left + size)
        with contextlib.suppress(RuntimeError):  # the full decoder does it, or explains
            stream = self.library.CodeStream(data).get_sub_code_stream(region=region)
            image = self.decoder.decode(stream, params=self.params[channels])
            if image is not None:
                return np.asarray(image).transpose(2, 0, 1)
        return None


@functools.cache
def part_decoder(process: int) -> PartDecoder | None:
    """That of this process: forked ones make their own. None where there is none that gives the same bits."""
    try:
        with errors_unheard():
            decoder = PartDecoder()
    except (ImportError, RuntimeError):
        return None
    return decoder if exact(decoder) else None


def exact(decoder: PartDecoder) -> bool:
    """Whether another libjpeg than that of `picture.decode` rounds and upsamples as it does."""
    for subsampling in (0, 1, 2):
        file = io.BytesIO()
        Image.fromarray(PROBE).save(file, "JPEG", subsampling=subsampling)
        part = decoder.square(file.getvalue(), 3, 13, 21, 19)
        if part is None or not np.array_equal(part, decode(file.getvalue(), "").pixels[:, 13:32, 21:40]):
            return False
    return True


@contextlib.contextmanager
def errors_unheard() -> Iterator[None]:
    """Without what the library writes to the standard error about CUDA's decoders, which nobody has asked for."""
    heard, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(heard, 2)
        os.close(heard)
        os.close(nowhere)
