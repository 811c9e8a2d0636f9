"""Zips read in place, as COCO comes; damaged and hostile ones."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.sources.contents import Contents
from pipeline.sources.listing import list_sources
from tests.conftest import stamped


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_where_they_lie(tmp_path: Path, jpeg: bytes, method: int) -> None:
    members = {f"val2017/{number:012d}.jpg": stamped(jpeg, number) for number in range(5)}
    members["val2017/\U0001f4f7.jpg"] = b"3"
    with zipfile.ZipFile(tmp_path / "val2017.zip", "w", method) as archive:
        archive.mkdir("val2017")
        for name, data in {**members, "__MACOSX/val2017/._1.jpg": b"x", "val2017/notes.txt": b"x"}.items():
            archive.writestr(name, data)
    reader = Contents()
    assert {file.title: reader.read(file) for file in list_sources([tmp_path / "val2017.zip"])} == members


def test_hostile_members_are_left_out_with_the_reason(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(link, "/etc/passwd")
        for name in ("/abs.jpg", "a/../../up.jpg", "inner.zip", "good.jpg"):
            archive.writestr(name, b"x")
        archive.writestr("bomb.bmp", bytes(20 << 20))
        archive.writestr("lzma.jpg", b"x", zipfile.ZIP_LZMA)
    sources = list_sources([tmp_path / "a.zip"])
    assert [file.title for file in sources] == ["good.jpg"]
    reasons = {lost.source: lost.reason for lost in sources.left_out}
    assert {name: reason.partition(",")[0] for name, reason in reasons.items()} == {
        "link.jpg": "a link",
        "/abs.jpg": "an absolute name in an archive",
        "a/../../up.jpg": "a name in an archive that climbs out of it (..)",
        "inner.zip": "an archive inside a zip; name it by itself",
        "bomb.bmp": reasons["bomb.bmp"].partition(",")[0],
        "lzma.jpg": "compressed by method 14",
    }
    assert "a bomb" in reasons["bomb.bmp"]


def test_a_bomb_that_lies_about_its_size_expands_to_no_more_than_it_says(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(50 << 20))
    data = file.getvalue().replace(struct.pack("<I", 50 << 20), struct.pack("<I", 1000))
    (tmp_path / "a.zip").write_bytes(data)
    (lost,) = [Contents().read(file) for file in list_sources([tmp_path / "a.zip"])]
    assert isinstance(lost, LeftOut)
    assert "checksum or size is wrong" in lost.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_left_out(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.jpg", bytes(range(256)) * 4)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    (lost,) = [Contents().read(file) for file in list_sources([tmp_path / "a.zip"])]
    assert isinstance(lost, LeftOut)
    assert "damaged in the archive" in lost.reason


@pytest.mark.parametrize("cut", [0, 10, 60, -1, -30])
def test_a_zip_cut_short_is_told(tmp_path: Path, cut: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"x" * 100)
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data[:cut])
    with pytest.raises(BadInput, match="a damaged zip"):
        list_sources([tmp_path / "a.zip"])


def test_a_zip_that_changes_after_listing_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"x" * 100)
    sources = list_sources([tmp_path / "a.zip"])
    (tmp_path / "a.zip").write_bytes(bytes(300))
    with pytest.raises(BadInput, match="a source has changed"):
        Contents().read(sources[0])
