"""Picture files of every common kind, and those that are none."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from pipeline.errors import BadInput
from pipeline.picture import Picture, decode, encode, from_unit, plain_jpeg, to_unit

COLOUR = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()
COLOUR_16 = np.random.default_rng(1).integers(0, 65536, (9, 7, 3), dtype=np.uint16)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_back_their_pixels(kind: str, options: dict[str, object]) -> None:
    picture = decode(saved(Image.fromarray(COLOUR), kind, **options), "x")
    assert (picture.pixels == COLOUR.transpose(2, 0, 1)).all()
    assert picture.alpha is None


def test_jpeg_is_what_pillow_decodes() -> None:
    data = saved(Image.fromarray(COLOUR), "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)
    assert (decode(data, "x").pixels == expected).all()


JPEG_KINDS: dict[str, dict[str, object]] = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True, "quality": 30},
    "restarts": {"restart_marker_rows": 1},
    "RGB": {"keep_rgb": True},
}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_every_jpeg_is_what_pillow_decodes(kind: str, mode: str) -> None:
    """Bit for bit, at sizes that are no multiple of a block: what was trained on does not depend on who decodes."""
    for width, height in ((1, 1), (17, 33), (64, 48), (255, 127)):
        noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        file = io.BytesIO()
        options = {} if kind == "RGB" and mode == "L" else JPEG_KINDS[kind]
        Image.fromarray(noise).convert(mode).save(file, "JPEG", **options)
        with Image.open(io.BytesIO(file.getvalue())) as image:
            assert plain_jpeg(image, file.getvalue())
            wanted = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
        assert np.array_equal(decode(file.getvalue(), "x").pixels, wanted)


def test_a_jpeg_without_its_end_is_left_to_pillow() -> None:
    """libjpeg-turbo by itself fills the missing part with grey and says nothing."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    whole = file.getvalue()
    decode(whole, "x")
    for cut in (len(whole) // 2, len(whole) - 40):
        with pytest.raises(BadInput, match="truncated"):
            decode(whole[:cut], "x")


def test_greyscale_stays_one_channel() -> None:
    assert (decode(saved(Image.fromarray(GREY), "PNG"), "x").pixels == GREY[None]).all()


def test_one_bit_becomes_black_and_white() -> None:
    picture = decode(saved(Image.fromarray(GREY > 127), "PNG"), "x")
    assert (picture.pixels[0] == np.where(GREY > 127, 255, 0)).all()


def test_palette_becomes_colour() -> None:
    image = Image.fromarray(COLOUR).quantize(256)
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert (decode(saved(image, "PNG"), "x").pixels == expected).all()


def test_cmyk_becomes_colour() -> None:
    image = Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).convert("CMYK")
    picture = decode(saved(image, "JPEG", quality=95), "x")
    assert picture.pixels.shape == (3, 16, 16)
    assert np.abs(picture.pixels.mean((1, 2)) - (200, 100, 50)).max() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept_apart(mode: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    image.putalpha(Image.fromarray(GREY))
    picture = decode(saved(image, "PNG"), "x")
    assert picture.alpha is not None
    assert (picture.alpha[0] == GREY).all()
    assert len(picture.pixels) == (3 if mode == "RGBA" else 1)


def test_a_transparent_palette_keeps_its_transparency() -> None:
    image = Image.fromarray(GREY).quantize(16)
    picture = decode(saved(image, "PNG", transparency=3), "x")
    assert picture.alpha is not None
    assert ((picture.alpha[0] == 0) == (np.asarray(image) == 3)).all()


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to view
    picture = decode(saved(Image.fromarray(COLOUR), "PNG", exif=exif), "x")
    assert (picture.pixels == np.rot90(COLOUR, -1).transpose(2, 0, 1)).all()


def test_a_colour_profile_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = decode(saved(Image.fromarray(COLOUR), "PNG", icc_profile=profile), "x")
    assert decode(encode(picture, ".png"), "x").icc_profile == profile


def test_sixteen_bit_greyscale() -> None:
    grey = COLOUR_16[..., 0].copy()
    assert (decode(saved(Image.fromarray(grey), "PNG"), "x").pixels == grey[None]).all()
    file = io.BytesIO()
    tifffile.imwrite(file, grey)
    assert (decode(file.getvalue(), "x").pixels == grey[None]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bits_survive_a_round_trip(suffix: str, channels: int, alpha: bool) -> None:
    """Pillow alone would cut colour to 8 bits without a word."""
    pixels = COLOUR_16.transpose(2, 0, 1)[:channels].copy()
    written = Picture(pixels, COLOUR_16[None, ..., 1].copy() if alpha else None, None)
    read = decode(encode(written, suffix), "x")
    assert read.bits == 16
    assert (read.pixels == pixels).all()
    assert (read.alpha is not None) == alpha
    if alpha:
        assert (read.alpha == written.alpha).all()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bits_survive_a_round_trip(suffix: str, channels: int) -> None:
    pixels = COLOUR.transpose(2, 0, 1)[:channels].copy()
    read = decode(encode(Picture(pixels, None, None), suffix), "x").pixels
    assert (read == pixels).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_unit_values_round_half_up_and_clip(bits: int) -> None:
    peak = (1 << bits) - 1
    levels = np.arange(peak + 1, dtype=np.uint8 if bits == 8 else np.uint16).reshape(1, 1, -1)
    assert (from_unit(to_unit(levels), bits)[:1] == levels).all()
    assert from_unit(np.array([-0.2, 0.5 / peak, 1.2], np.float32), bits).tolist() == [0, 1, peak]


def test_a_sixteen_bit_png_keeps_its_colour_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(Picture(COLOUR_16.transpose(2, 0, 1).copy(), None, profile), ".png")
    assert decode(data, "x").icc_profile == profile


def png(size: tuple[int, int]) -> bytes:
    return saved(Image.new("L", size), "PNG")


BAD = {
    "text": b"I am not a picture",
    "empty": b"",
    "half a jpeg": saved(Image.fromarray(COLOUR), "JPEG")[:300],
    "half a png": saved(Image.fromarray(COLOUR), "PNG")[:150],
    "half a webp": saved(Image.fromarray(COLOUR), "WEBP")[:100],
    "half a bmp": saved(Image.fromarray(COLOUR), "BMP")[:120],
    "half a 16-bit png": encode(Picture(COLOUR_16.transpose(2, 0, 1).copy(), None, None), ".png")[:200],
    "half a 16-bit tiff": encode(Picture(COLOUR_16.transpose(2, 0, 1).copy(), None, None), ".tif")[:400],
    "float": saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
    "frames": saved(Image.new("L", (4, 4)), "WEBP", save_all=True, append_images=[Image.new("L", (4, 4), 255)]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(BadInput, match=r"my/file\.jpg"):
        decode(BAD[name], "my/file.jpg")


def test_the_reason_is_the_same_every_time() -> None:
    """It goes into index.json, whose bytes depend on nothing but the sources and the options."""
    reasons = set()
    for _ in range(3):
        with pytest.raises(BadInput) as refused:
            decode(b"I am not a picture", "x")
        reasons.add(str(refused.value))
    assert len(reasons) == 1
    assert "0x" not in reasons.pop()


def test_a_bomb_is_refused_by_its_header() -> None:
    data = bytearray(png((8, 8)))
    data[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height of the header
    with pytest.raises(BadInput, match="picture"):
        decode(bytes(data), "bomb.png")
    with pytest.raises(BadInput, match="at most 63"):
        decode(png((8, 8)), "x", max_pixels=63)


def test_a_wide_picture_is_read(tmp_path: Path) -> None:
    assert decode(png((20_000, 3)), "x").pixels.shape == (1, 3, 20_000)
