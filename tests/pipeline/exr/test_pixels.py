"""Pixels go in and out as they are; what the library does in silence is said or cannot happen."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import OpenEXR
import pytest

from pipeline.errors import BadInput
from pipeline.exr.container import parse
from pipeline.exr.pixels import as_half, decode, encode, with_channels


def same(one: Any, other: Any) -> bool:
    """The same bits: NaN is itself."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def test_every_type_is_read_as_it_is(multi_layer: bytes) -> None:
    library = OpenEXR.File(io.BytesIO(multi_layer), separate_channels=True).channels()
    ours = decode(parse(multi_layer, "x.exr"), 0)
    assert {str(values.dtype) for values in ours.values()} == {"float16", "float32", "uint32"}
    assert ours.keys() == library.keys()
    assert all(same(ours[name], library[name].pixels) for name in ours)


def test_an_unchanged_file_is_written_byte_for_byte(multi_layer: bytes, multi_part: bytes) -> None:
    for data, parts in ((multi_layer, (0,)), (multi_part, (0, 2))):
        file = parse(data, "x.exr")
        for part in parts:
            assert with_channels(file, part, decode(file, part), {}) == data


def test_only_what_is_replaced_changes(multi_layer: bytes) -> None:
    file = parse(multi_layer, "x.exr")
    before = decode(file, 0)
    red = np.full((48, 64), 0.25, np.float32)
    out = parse(with_channels(file, 0, before, {"R": red}), "y.exr")
    after = decode(out, 0)
    assert out.headers == file.headers  # every attribute, those of unknown types among them
    assert same(after["R"], red.astype(np.float16))
    assert all(same(after[name], before[name]) for name in before if name != "R")


def test_other_parts_are_kept_byte_for_byte(multi_part: bytes) -> None:
    file = parse(multi_part, "x.exr")
    out = parse(with_channels(file, 0, decode(file, 0), {"G": np.zeros((40, 60), np.float32)}), "y.exr")
    assert out.headers == file.headers
    for part in (1, 2, 3):  # a lossy one and a deep one among them
        for before, after in zip(file.chunks[part], out.chunks[part], strict=True):
            assert file.data[before.start : before.end] == out.data[after.start : after.end]
    assert not decode(out, 0)["G"].any()
    assert same(decode(out, 0)["R"], decode(file, 0)["R"])


def test_a_lossy_part_does_not_drift(multi_part: bytes) -> None:
    file = parse(multi_part, "x.exr")
    before = decode(file, 1)
    out = parse(with_channels(file, 1, before, {"R": np.ones((48, 64), np.float32)}), "y.exr")
    assert all(same(decode(out, 1)[name], before[name]) for name in "GB")
    # The twin: by the library's own way, which compresses again, they are not what they were.
    again = io.BytesIO()
    OpenEXR.File({"compression": OpenEXR.DWAA_COMPRESSION}, dict(before)).write(again)
    assert not all(same(decode(parse(again.getvalue(), ""), 0)[name], before[name]) for name in "GB")


def test_arrays_that_are_not_contiguous_are_written_right() -> None:
    frame = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    views = {"R": frame[..., 0], "G": frame[::-1, ::-1, 1], "B": np.asfortranarray(frame[..., 2])}
    read = decode(parse(encode(views), "x.exr"), 0)
    assert all(np.array_equal(read[name], views[name]) for name in views)
    # The twin: the library itself writes other pixels.
    wrong = io.BytesIO()
    OpenEXR.File({}, {name: OpenEXR.Channel(values) for name, values in views.items()}).write(wrong)
    read = decode(parse(wrong.getvalue(), "x.exr"), 0)
    assert not any(np.array_equal(read[name], views[name]) for name in views)


def test_values_beyond_half_are_refused_and_infinity_is_itself() -> None:
    values = np.array([[1.0, 65504.0, 65519.0, np.inf, -np.inf, np.nan]], np.float32)
    assert np.isfinite(as_half(values, "x")).sum() == 3
    with pytest.raises(BadInput, match="values too large for half"):
        as_half(np.array([70000.0], np.float32), "x")


def test_nan_and_infinity_pass_through_bit_for_bit() -> None:
    half = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256)  # every half there is
    file = parse(encode({"R": half, "G": half, "B": half}), "x.exr")
    out = parse(with_channels(file, 0, decode(file, 0), {"G": np.zeros((256, 256), np.float16)}), "y.exr")
    assert same(decode(out, 0)["R"], half)


def test_a_damaged_chunk_is_said_though_the_library_leaves_the_part_out(multi_part: bytes) -> None:
    file = parse(multi_part, "frame.exr")
    chunk = file.chunks[2][0]
    damaged = bytearray(multi_part)
    damaged[chunk.start + 8 : chunk.start + 80] = bytes(72)
    assert len(OpenEXR.File(io.BytesIO(bytes(damaged))).parts) < 4  # in silence
    broken = parse(bytes(damaged), "frame.exr")
    with pytest.raises(BadInput, match=r"frame\.exr, part normal"):
        decode(broken, 2)
    assert decode(broken, 0).keys() == {"R", "G", "B"}  # and it harms no other part


def test_mipmaps_are_left_out_of_what_is_read_and_written(make_exr: Callable[..., bytes]) -> None:
    tiles = OpenEXR.TileDescription()
    tiles.xSize = tiles.ySize = 64
    tiles.mode = OpenEXR.ONE_LEVEL
    red = np.random.default_rng(0).random((64, 64)).astype(np.float16)
    data = make_exr([({"type": OpenEXR.tiledimage, "tiles": tiles, "compression": OpenEXR.NO_COMPRESSION}, {"R": red})])
    flat = parse(data, "x.exr")
    chunks, side = [data[flat.chunks[0][0].start : flat.chunks[0][0].end]], 32
    for level in range(1, 7):
        size = side * side * 2
        chunks.append(np.array([0, 0, level, level, size], "<i4").tobytes() + bytes(size))
        side //= 2
    header = flat.headers[0].with_values(tiles=np.array([64, 64], "<u4").tobytes() + b"\1")
    mipmapped = parse(flat.with_part(0, header, chunks), "x.exr")
    assert len(mipmapped.chunks[0]) == 7
    assert same(decode(mipmapped, 0)["R"], red)
    out = parse(with_channels(mipmapped, 0, decode(mipmapped, 0), {"R": red + np.float16(1)}), "y.exr")
    assert len(out.chunks[0]) == 1
    assert same(decode(out, 0)["R"], red + np.float16(1))


def test_deep_and_subsampled_parts_are_refused_with_the_reason(multi_part: bytes) -> None:
    with pytest.raises(BadInput, match="deep pixels"):
        decode(parse(multi_part, "x.exr"), 3)
