"""Names and sizes of archive members: which are pictures, which are refused."""

import pytest

from pipeline.sources.members import TOO_LARGE, is_archive, is_hidden, is_picture, refuse, suffix, unsafe_name


@pytest.mark.parametrize("name", [b"a.jpg", b"a/b.JPEG", b"a.b/c.d.png", b"\xff.webp", b"a.tif"])
def test_pictures(name: bytes) -> None:
    assert is_picture(name)
    assert not unsafe_name(name)


@pytest.mark.parametrize("name", [b"a", b"jpg", b"a.jpg/b", b"a.jpg/", b"a.txt", b"a.jpg.txt", b".", b""])
def test_no_pictures(name: bytes) -> None:
    assert not is_picture(name)


def test_suffixes_are_those_of_the_last_part() -> None:
    assert [suffix(name) for name in (b"a.tar/b", b"a.B/c.PnG", b"x.\xe9")] == ["", ".png", ".\ufffd"]


@pytest.mark.parametrize(
    "name", [b"/a.jpg", b"\\a.jpg", b"C:\\a.jpg", b"c:/a.jpg", b"../a.jpg", b"a/../b.jpg", b"a\\..\\b.jpg"]
)
def test_names_that_would_leave_a_folder_are_unsafe(name: bytes) -> None:
    assert unsafe_name(name)
    refused = refuse(name, 1, 1)
    assert refused is not None
    assert refused.kind == "unsafe"


@pytest.mark.parametrize("name", [b"a..b.jpg", b"...jpg", b"a/..b/c.jpg", b"a:b.jpg", b"~/a.jpg"])
def test_names_that_only_look_so_are_kept(name: bytes) -> None:
    assert not unsafe_name(name)


@pytest.mark.parametrize(
    ("size", "packed", "kept"),
    [
        (TOO_LARGE, TOO_LARGE, True),
        (TOO_LARGE + 1, TOO_LARGE + 1, False),
        (1 << 24, 1, True),  # a flat bitmap may well
        ((1 << 24) + 1, 1 << 14, False),
        (1 << 25, 1 << 17, True),
    ],
)
def test_sizes(size: int, packed: int, kept: bool) -> None:
    assert (refuse(b"a.jpg", size, packed) is None) == kept


def test_archives_and_hidden_files() -> None:
    assert all(is_archive(name) for name in (b"a.tar", b"A.ZIP", b"a.tar.gz", b"b.7z"))
    assert not is_archive(b"a.tar.jpg")
    assert all(is_hidden(name) for name in (b".a.jpg", b"a/.b/c.jpg", b"__MACOSX/a.jpg"))
    assert not any(is_hidden(name) for name in (b"./a.jpg", b"a/../b.jpg", b"a.b.jpg"))
