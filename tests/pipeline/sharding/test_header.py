"""Headers read without decoding say what decoding would."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.picture import Picture, decode, encode
from pipeline.sharding import header
from pipeline.sharding.header import Header, _orientation, _orientation_by_pillow, read_header
from pipeline.sources.listing import list_sources

COLOUR = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


image = Image.fromarray(COLOUR)
KNOWN = {
    "jpeg": saved(image, "JPEG"),
    "progressive": saved(image, "JPEG", progressive=True),
    "grey jpeg": saved(image.convert("L"), "JPEG"),
    "cmyk": saved(image.convert("CMYK"), "JPEG"),
    "comment": saved(image, "JPEG", comment=b"\xff\xd9 not the end"),
    **{f"turned {number}": saved(image, "JPEG", exif=turned(number)) for number in range(1, 9)},
    "png": saved(image, "PNG"),
    "grey png": saved(image.convert("L"), "PNG"),
    "palette": saved(image.quantize(16), "PNG"),
    "alpha": saved(image.convert("RGBA"), "PNG"),
    "grey and alpha": saved(image.convert("LA"), "PNG"),
    "one bit": saved(image.convert("1"), "PNG"),
    "16 bits": encode(Picture(COLOUR.transpose(2, 0, 1).astype(np.uint16) * 257, None, None), ".png"),
    "16 bits grey": encode(Picture(COLOUR.transpose(2, 0, 1)[:1].astype(np.uint16) * 257, None, None), ".png"),
    "webp": saved(image, "WEBP"),
    "lossless webp": saved(image, "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_header_says_what_decoding_says(name: str) -> None:
    pixels = decode(KNOWN[name], name).pixels
    assert read_header(KNOWN[name]) == Header(*pixels.shape[1:], len(pixels), pixels.itemsize * 8)


@pytest.mark.parametrize("name", KNOWN)
def test_a_picture_cut_anywhere_is_left_to_the_decoder(name: str) -> None:
    data = KNOWN[name]
    assert all(read_header(data[:length]) is None for length in range(len(data)))


UNSURE = {
    "animated": saved(image, "PNG", save_all=True, append_images=[Image.fromarray(255 - COLOUR)]),
    "turned png": saved(image, "PNG", exif=turned(6)),
    "bitmap": saved(image, "BMP"),
    "tiff": saved(image, "TIFF"),
    "text": b"no picture",
    "nothing": b"",
    "webp with alpha": saved(Image.fromarray(np.dstack([COLOUR, COLOUR[..., 0]])), "WEBP"),
    "two in one": saved(image, "MPO", save_all=True, append_images=[image]),
}


@pytest.mark.parametrize("name", UNSURE)
def test_what_only_decoding_can_tell_is_left_to_it(name: str) -> None:
    assert read_header(UNSURE[name]) is None


def test_any_flipped_bit_of_a_png_is_seen() -> None:
    data = KNOWN["png"]
    for position in range(8, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 16
        assert read_header(bytes(damaged)) is None


def test_a_bomb_is_left_to_the_decoder_which_refuses_it() -> None:
    data = bytearray(KNOWN["jpeg"])
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    assert read_header(bytes(data)) is None


def test_pictures_of_every_kind_in_a_folder(pictures: Path) -> None:
    for file in list_sources([pictures]):
        pixels = decode(file.path.read_bytes(), "").pixels
        assert read_header(file.path.read_bytes()) == Header(*pixels.shape[1:], len(pixels), 8)


def exif_of(order: str, orientation: int, others: int = 5) -> bytes:
    """A segment's EXIF with the orientation among other tags, which have numbers in place."""
    tags = sorted([(0x0112, orientation), *((0x0132 + 7 * number, number) for number in range(others)), (0x0100, 9)])
    entries = b"".join(struct.pack(f"{order}HHIHxx", tag, 3, 1, value) for tag, value in tags)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_the_one_that_pillow_reads(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for orientation in range(1, 9):
        exif = exif_of(order, orientation)
        assert _orientation_by_pillow(exif) == orientation
        monkeypatch.setattr(header, "_orientation_by_pillow", None)  # which need not be asked
        assert _orientation(exif) == orientation
        monkeypatch.undo()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what is damaged
@pytest.mark.parametrize("order", ["<", ">"])
def test_of_damaged_exif_as_well(order: str) -> None:
    random = np.random.default_rng(0)
    whole = exif_of(order, 6)
    for _ in range(3000):
        exif = bytearray(whole[: random.integers(8, len(whole) + 1)] if random.random() < 0.3 else whole)
        for place in random.integers(6, len(exif), random.integers(1, 4)):  # behind the mark, which has been seen
            exif[place] = random.choice([0, 1, 2, 3, 0x12, 0xFF, random.integers(256)])
        assert (_orientation(bytes(exif)) >= 5) == (_orientation_by_pillow(bytes(exif)) >= 5), bytes(exif)
