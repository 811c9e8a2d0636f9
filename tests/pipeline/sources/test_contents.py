"""Bytes of sources: those that were listed, or a message; never others."""

import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.sources.contents import Contents
from pipeline.sources.listing import SourceFile, list_sources

DATA = bytes(range(256)) * 100


def read_to_a_place(source: SourceFile) -> bytes | memoryview | LeftOut:
    return Contents().read_into(memoryview(bytearray(source.size + 1)), source)


def read(source: SourceFile) -> bytes | memoryview | LeftOut:
    return Contents().read(source)


both = pytest.mark.parametrize("read", [read, read_to_a_place])
Read = Callable[[SourceFile], bytes | memoryview | LeftOut]


@pytest.fixture
def three(tmp_path: Path) -> list[SourceFile]:
    """The same picture in a folder, a tar and a zip."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(DATA)
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", folder, "a.jpg"], check=True)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(folder / "a.jpg", "a.jpg")
    return [list_sources([path])[0] for path in (folder, tmp_path / "a.tar", tmp_path / "a.zip")]


def test_all_of_it_and_parts(three: list[SourceFile]) -> None:
    contents = Contents()
    for source in three:
        assert contents.read(source) == DATA
        assert contents.about(source) == {}
    assert [contents.part(source, 10, 300) for source in three[:2]] == [DATA[300:310]] * 2
    assert read_to_a_place(three[0]) == DATA


@pytest.mark.parametrize("number", range(3))
def test_a_source_that_is_gone_stops_the_run(three: list[SourceFile], number: int) -> None:
    source = three[number]
    os.unlink(source.path)
    with pytest.raises(BadInput, match=r"a source cannot be read[^$]*No such file[^$]*run the command again"):
        Contents().read(source)
    with pytest.raises(OSError, match="No such file"):
        Contents().part(source, 1, 0)


def test_nor_is_it_missed_by_reading_to_a_place(three: list[SourceFile]) -> None:
    os.truncate(three[0].path, 20_000)
    with pytest.raises(BadInput, match=r"a source has changed[^$]*fewer bytes than listed"):
        read_to_a_place(three[0])
    os.unlink(three[0].path)
    with pytest.raises(BadInput, match=r"a source cannot be read[^$]*No such file"):
        read_to_a_place(three[0])


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("length", [0, 10, 600, 20_000])
def test_a_source_cut_short_stops_the_run(three: list[SourceFile], number: int, length: int) -> None:
    source = three[number]
    os.truncate(source.path, length)
    if source.path.suffix == ".zip" and length > 100:  # its header is there: damage in the archive, told of one picture
        found = Contents().read(source)
        assert isinstance(found, LeftOut)
        return
    with pytest.raises(BadInput, match="a source has changed"):
        Contents().read(source)


@both
def test_no_more_is_read_than_was_listed_and_one_byte(three: list[SourceFile], read: Read) -> None:
    """A file that has grown to gigabytes since would fill the memory."""
    with open(three[0].path, "ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadInput, match="more bytes than listed"):
        read(three[0])


@both
def test_forbidden_files_are_left_out_and_forbidden_archives_stop(commoner: Path, read: Read) -> None:
    (commoner / "a.jpg").write_bytes(DATA)
    subprocess.run(["tar", "-cf", commoner / "b.tar", "-C", commoner, "a.jpg"], check=True)
    single, member = (list_sources([commoner / name])[0] for name in ("a.jpg", "b.tar"))
    for name in ("a.jpg", "b.tar"):
        (commoner / name).chmod(0)
    lost = read(single)
    assert isinstance(lost, LeftOut)
    assert lost.reason == "Permission denied"
    with pytest.raises(BadInput, match="Permission denied"):
        Contents().read(member)


@pytest.mark.parametrize(
    ("text", "about"),
    [('{"label": 1}', {"label": 1}), ("[1]", {}), ("{", {}), ("[" * 60_000, {}), ("\xff", {}), ("x" * 70_000, {})],
)
def test_what_is_said_beside_a_picture_is_taken_if_it_can_be_read(tmp_path: Path, text: str, about: object) -> None:
    (tmp_path / "1.jpg").write_bytes(b"x")
    (tmp_path / "1.json").write_text(text, "latin-1")
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", tmp_path, "1.jpg", "1.json"], check=True)
    assert Contents().about(list_sources([tmp_path / "a.tar"])[0]) == about
