"""Tars read in place: every shape that pictures come in, and nothing lost from damaged or hostile ones."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.sources.contents import Contents
from pipeline.sources.listing import Sources, list_sources
from tests.conftest import stamped


def tar(path: Path | io.BytesIO, members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> None:
    opened = {"fileobj": path} if isinstance(path, io.BytesIO) else {"name": path}
    with tarfile.open(mode="w", format=form, **opened) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def contents(sources: Sources) -> dict[str, bytes | LeftOut]:
    reader = Contents()
    return {file.title: reader.read(file) for file in sources}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_read_where_they_lie(tmp_path: Path, jpeg: bytes, form: int) -> None:
    members = {f"a/{number}.jpg": stamped(jpeg, number) for number in range(5)}
    long = {"folder/" * 14 + "x" * 90 + ".png": b"1"}
    if form != tarfile.USTAR_FORMAT:
        long |= {"y" * 300 + ".png": b"2", "\U0001f4f7\n.jpg": b"3"}
    tar(tmp_path / "a.tar", {**members, **long, "notes.txt": b"x", "._a.jpg": b"x"}, form)
    assert contents(list_sources([tmp_path / "a.tar"])) == {**members, **long}


def test_a_tar_made_by_tar_itself(tmp_path: Path, many: Path) -> None:
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", many, "."], check=True)
    expected = contents(list_sources([many]))
    assert contents(list_sources([tmp_path / "a.tar"])) == expected


def test_a_tar_of_tars_as_imagenet_comes(tmp_path: Path, jpeg: bytes) -> None:
    inner = {}
    for wnid in ("n01440764", "n01443537"):
        file = io.BytesIO()
        tar(file, {f"{wnid}_{number}.JPEG": stamped(jpeg, number) + wnid.encode() for number in range(3)})
        inner[f"{wnid}.tar"] = file.getvalue()
    tar(tmp_path / "train.tar", inner)
    found = contents(list_sources([tmp_path / "train.tar"]))
    assert len(found) == 6
    assert found["n01443537.tar/n01443537_2.JPEG"] == stamped(jpeg, 2) + b"n01443537"


def test_tars_without_end_are_left_out_where_they_are_too_deep(tmp_path: Path) -> None:
    data = b"picture"
    name = "x.jpg"
    for depth in range(4):
        file = io.BytesIO()
        tar(file, {name: data, f"own{depth}.png": b"1"})
        name, data = "deeper.tar", file.getvalue()
    (tmp_path / "a.tar").write_bytes(data)
    sources = list_sources([tmp_path / "a.tar"])
    assert list(contents(sources)) == ["deeper.tar/own2.png", "own3.png"]
    (lost,) = sources.left_out
    assert (lost.source, lost.kind) == ("deeper.tar/deeper.tar", "unsafe")


def test_hostile_members_are_left_out_with_the_reason(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("/etc/abs.jpg", "a/../../up.jpg", "C:\\win.jpg", "good.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
        for name, kind in (
            ("soft.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    sources = list_sources([tmp_path / "a.tar"])
    assert [file.title for file in sources] == ["good.jpg"]
    reasons = {lost.source: lost.reason for lost in sources.left_out}
    assert "absolute" in reasons["/etc/abs.jpg"]
    assert "absolute" in reasons["C:\\win.jpg"]
    assert "climbs" in reasons["a/../../up.jpg"]
    assert reasons["soft.jpg"] == reasons["hard.jpg"] == "a link, not a file of its own"
    assert "device" in reasons["device.jpg"]
    assert "device" in reasons["pipe.jpg"]


def test_a_member_of_many_gigabytes_is_left_out_and_a_sparse_one_too(tmp_path: Path) -> None:
    with open(tmp_path / "a.tar", "wb") as file:
        for name, size in (("huge.jpg", 3 << 30), ("good.jpg", 1)):
            info = tarfile.TarInfo(name)
            info.size = size
            file.write(info.tobuf())
            file.seek(-(-size // 512) * 512, os.SEEK_CUR)
        file.write(bytes(1024))
    sources = list_sources([tmp_path / "a.tar"])
    assert [file.title for file in sources] == ["good.jpg"]
    assert "at most" in sources.left_out[0].reason
    with open(tmp_path / "holes.jpg", "wb") as file:
        for number in range(60):  # more than fit into its header
            file.seek(number << 16)
            file.write(b"x" * 4096)
    (tmp_path / "x.jpg").write_bytes(b"1")
    command = ["tar", "--format=gnu", "-cSf", tmp_path / "b.tar", "-C", tmp_path, "holes.jpg", "x.jpg"]
    subprocess.run(command, check=True)
    sources = list_sources([tmp_path / "b.tar"])
    assert contents(sources) == {"x.jpg": b"1"}
    assert "sparse" in sources.left_out[0].reason


def whole(tmp_path: Path) -> bytes:
    tar(tmp_path / "whole.tar", {f"{number}.jpg": bytes([number]) * 600 for number in range(5)})
    return (tmp_path / "whole.tar").read_bytes()


@pytest.mark.parametrize("cut", [100, 512, 700, 1536, 1536 + 512, 5 * 1536, 5 * 1536 - 1])
def test_an_archive_cut_anywhere_before_its_end_is_told(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.tar").write_bytes(whole(tmp_path)[:cut])
    with pytest.raises(BadInput, match="a damaged tar"):
        list_sources([tmp_path / "a.tar"])


@pytest.mark.parametrize("position", [0, 50, 1536 + 130, 3 * 1536 + 150, 2 * 1536 + 257])
def test_a_damaged_header_is_told_and_not_taken_for_the_end(tmp_path: Path, position: int) -> None:
    data = bytearray(whole(tmp_path))
    data[position] ^= 4
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(BadInput, match="a damaged tar"):
        list_sources([tmp_path / "a.tar"])


def test_two_archives_in_one_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(whole(tmp_path) * 2)
    with pytest.raises(BadInput, match="two archives"):
        list_sources([tmp_path / "a.tar"])


def test_an_archive_that_changes_after_listing_is_told(tmp_path: Path) -> None:
    data = whole(tmp_path)
    (tmp_path / "a.tar").write_bytes(data)
    sources = list_sources([tmp_path / "a.tar"])
    (tmp_path / "a.tar").write_bytes(data[512:])
    with pytest.raises(BadInput, match="a source has changed"):
        Contents().read(sources[0])


def test_webdataset_groups_keep_their_json_beside_their_picture(tmp_path: Path) -> None:
    members = {
        "a/1.cls": b"7",
        "a/1.jpg": b"1",
        "a/1.json": json.dumps({"label": "tench"}).encode(),
        "a/2.json": b"{damaged",
        "a/2.png": b"2",
        "b/1.jpg": b"3",
        "b/1.color.0.npy": b"no picture",
    }
    tar(tmp_path / "a.tar", members)
    sources = list_sources([tmp_path / "a.tar"])
    reader = Contents()
    assert [(file.title, reader.about(file)) for file in sources] == [
        ("a/1.jpg", {"label": "tench"}),
        ("a/2.png", {}),
        ("b/1.jpg", {}),
    ]
