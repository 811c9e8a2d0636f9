"""One source becomes its samples, or the reason why not."""

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.index import LeftOut
from pipeline.picture import decode
from pipeline.sharding.ingest import Read, Sample, ingest
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.contents import Contents
from pipeline.sources.listing import list_sources


def picture(kind: str, *size: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def taken(
    tmp_path: Path, data: bytes, name: str = "a.jpg", measure: bool = False, **storage: Any
) -> tuple[list[Sample] | LeftOut, Levels]:
    (tmp_path / name).write_bytes(data)
    levels = Levels()
    read = Read(list_sources([tmp_path])[0], data, hashlib.sha256(data).hexdigest())
    return ingest(read, Contents(), StorageConfig(**storage), levels, measure), levels


def test_a_file_keeps_its_bytes_and_says_where_it_came_from(tmp_path: Path) -> None:
    data = picture("JPEG", 30, 40, 3)
    samples, levels = taken(tmp_path, data)
    assert isinstance(samples, list)
    (sample,) = samples
    assert (sample.data, sample.extension) == (data, "jpg")
    assert (sample.header.height, sample.header.width, sample.header.channels, sample.header.bits) == (30, 40, 3, 8)
    assert sample.about["source"] == "a.jpg"
    assert sample.about["sha256"] == hashlib.sha256(data).hexdigest()
    assert levels.pictures == 1


def test_pixels_are_those_of_the_decoder_and_keep_the_file_s_checksum(tmp_path: Path) -> None:
    data = picture("JPEG", 30, 40, 3)
    samples, _ = taken(tmp_path, data, store="pixels")
    assert isinstance(samples, list)
    assert (np.load(io.BytesIO(samples[0].data)) == decode(data, "x").pixels).all()
    assert samples[0].about["sha256"] == hashlib.sha256(data).hexdigest()


def test_tiles_say_where_they_were_cut(tmp_path: Path) -> None:
    samples, levels = taken(tmp_path, picture("PNG", 30, 40), "a.png", tile=20)
    assert isinstance(samples, list)
    assert [sample.about["tile"] for sample in samples] == [[0, 0], [0, 20], [15, 0], [15, 20]]
    assert {(sample.about["height"], sample.about["width"]) for sample in samples} == {(15, 20)}
    assert levels.counts[3].sum() == 30 * 40


def test_header_checks_decode_what_is_to_be_measured_alone(tmp_path: Path) -> None:
    for measure in (False, True):
        _, levels = taken(tmp_path, picture("JPEG", 30, 40, 3), measure=measure, check="header")
        assert levels.pictures == measure


def animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (0, 200)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize("check", ["decode", "header"])
@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", "unreadable", ""),
        (b"no picture", "unreadable", ""),
        (picture("JPEG", 30, 40, 3)[:500], "unreadable", ""),
        (picture("PNG", 1, 40), "small", "40 x 1 pixels"),
        (animated(), "unreadable", "frames"),
    ],
)
def test_what_cannot_train_is_left_out(tmp_path: Path, data: bytes, kind: str, reason: str, check: str) -> None:
    name = "a.webp" if data.startswith(b"RIFF") else "a.png"
    lost, levels = taken(tmp_path, data, name, check=check)
    assert isinstance(lost, LeftOut)
    assert (lost.source, lost.kind) == (name, kind)
    assert reason in lost.reason
    assert levels.pictures == 0


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 that is a few megabytes of file and gigabytes of pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * 40_000)
    body = b"".join(packer.compress(row) for _ in range(400)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("check", ["decode", "header"])
def test_pictures_of_gigabytes_are_refused_by_their_header(tmp_path: Path, check: str) -> None:
    lost, _ = taken(tmp_path, bomb(), "a.png", check=check)
    assert isinstance(lost, LeftOut)
    assert "40000" in lost.reason.replace(",", "") or "pixels" in lost.reason
