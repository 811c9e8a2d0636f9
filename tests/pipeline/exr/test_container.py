"""Files are taken apart and put together byte for byte, and what is damaged is said."""

import io
import struct

import OpenEXR
import pytest

from pipeline.errors import BadInput
from pipeline.exr.container import assemble, parse


@pytest.mark.parametrize("kind", ["multi_layer", "multi_part"])
def test_a_file_is_put_together_as_it_was(kind: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(kind)
    file = parse(data, "x.exr")
    chunks = [[data[chunk.start : chunk.end] for chunk in part] for part in file.chunks]
    assert assemble(file.version, file.headers, chunks) == data


def test_parts_are_listed_with_what_they_are(multi_part: bytes) -> None:
    headers = parse(multi_part, "x.exr").headers
    assert [header.name for header in headers] == ["beauty", "albedo", "normal", "deep"]
    assert [header.kind for header in headers] == ["tiledimage", "scanlineimage", "scanlineimage", "deepscanline"]
    assert headers[0].window == (-4, 3, 55, 42)
    assert [channel.type for channel in headers[2].channels] == ["float"] * 3


def test_a_part_alone_is_a_file_that_the_library_reads(multi_part: bytes) -> None:
    file = parse(multi_part, "x.exr")
    for part, header in enumerate(file.headers):
        read = OpenEXR.File(io.BytesIO(file.alone(part)), separate_channels=True)
        assert len(read.parts) == 1
        assert list(read.channels()) == [channel.name for channel in header.channels]


def test_a_stopped_render_is_told_from_a_damaged_file(multi_layer: bytes) -> None:
    file = parse(multi_layer, "x.exr")
    table = file.chunks[0][0].start - 8 * len(file.chunks[0])
    unfinished = multi_layer[:table] + struct.pack("<Q", 0) + multi_layer[table + 8 :]
    with pytest.raises(BadInput, match="1 of 3 chunks were never written"):
        parse(unfinished, "x.exr")


@pytest.mark.parametrize("size", [0, 3, 8, 40, 300, -1])
def test_a_file_cut_short_is_refused(size: int, multi_layer: bytes) -> None:
    with pytest.raises(BadInput, match="a damaged OpenEXR file"):
        parse(multi_layer[:size], "x.exr")


def test_a_window_of_ten_thousand_million_pixels_takes_no_memory(multi_layer: bytes) -> None:
    place = multi_layer.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    for corner in ((99999, 99999), (2**31 - 1, 47)):
        bomb = multi_layer[: place + 8] + struct.pack("<2i", *corner) + multi_layer[place + 16 :]
        with pytest.raises(BadInput, match="a damaged OpenEXR file"):
            parse(bomb, "x.exr")
