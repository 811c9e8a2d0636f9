"""Listing: every picture once, in an order of its own, and nothing passed over in silence."""

import os
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.sources.listing import Sources, list_pictures, list_sources


def titles(sources: Sources) -> list[str]:
    return [file.title for file in sources]


def touch(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_the_order_is_that_of_whole_names(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/2.PNG", "a-b/1.jpg", "a.jpg", "b/c/d/1.webp", "z.tiff"]
    touch(tmp_path, *reversed(names), "notes.txt", ".hidden.jpg", ".git/x.jpg")
    assert titles(list_sources([tmp_path])) == sorted(names)


def test_several_sources_are_told_apart_by_the_ends_of_their_paths(tmp_path: Path) -> None:
    for root in ("x/train", "y/train"):
        touch(tmp_path / root, "a/1.jpg")
    touch(tmp_path, "single.jpg")
    found = titles(list_sources([tmp_path / "x/train", tmp_path / "y/train", tmp_path / "single.jpg"]))
    parent = tmp_path.name
    assert found == ["x/train/a/1.jpg", "y/train/a/1.jpg", f"{parent}/single.jpg"]
    assert titles(list_sources([tmp_path / "x/train"])) == ["a/1.jpg"]


def test_a_source_given_twice_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(BadInput, match="given twice"):
        list_sources([tmp_path / "a", tmp_path / "link"])


STRANGE = [b"with space.jpg", "emoji \U0001f4f7.jpg".encode(), b"new\nline.jpg", b"no \xff\xfe utf8.jpg", b"\xe4.png"]


def test_strange_names_are_listed_and_become_valid_text(tmp_path: Path) -> None:
    touch(tmp_path, *STRANGE, b"l" * 251 + b".jpg")
    found = list_sources([tmp_path])
    assert {os.fsencode(file.name) for file in found} == {*STRANGE, b"l" * 251 + b".jpg"}
    assert all(file.path.read_bytes() == b"x" for file in found)
    assert r"no \xff\xfe utf8.jpg" in titles(found)
    assert all(title.encode() for title in titles(found))


def test_rings_of_links_end_and_dead_links_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "dead.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = list_sources([tmp_path])
    assert titles(found) == ["a/1.jpg"]
    assert {(lost.source, lost.reason) for lost in found.left_out} == {
        ("self.jpg", "a link to nothing"),
        ("dead.jpg", "a link to nothing"),
        ("pipe.jpg", "not a regular file"),
    }


def test_a_folder_without_permission_is_told(commoner: Path) -> None:
    touch(commoner, "a.jpg", "closed/b.jpg")
    (commoner / "closed").chmod(0)
    with pytest.raises(BadInput, match=r"cannot be listed[^$]*closed[^$]*Permission denied"):
        list_sources([commoner])


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_lists_are_read_in_their_own_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "c.bin.jpg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text(separator.join(["b.jpg", str(tmp_path / "a.jpg"), "c.bin.jpg", ""]), newline="")
    found = list_sources([], [Path("list.txt")])
    assert titles(found) == ["b.jpg", str(tmp_path / "a.jpg"), "c.bin.jpg"]
    assert [file.path.read_bytes() for file in found] == [b"x"] * 3


def test_a_missing_line_of_a_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\nnone.jpg\n")
    with pytest.raises(BadInput, match=r"line 2[^$]*none\.jpg: No such file"):
        list_sources([], [tmp_path / "list.txt"])


def test_globs_are_sorted_and_must_fit_something(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.jpg", "a/1.jpg", "c[1]/1.jpg")
    assert titles(list_sources([str(tmp_path / "[ab]")])) == ["a/1.jpg", "b/1.jpg"]
    assert titles(list_sources([str(tmp_path / "c[1]")])) == ["1.jpg"]
    with pytest.raises(BadInput, match="nothing fits"):
        list_sources([str(tmp_path / "x*")])


@pytest.mark.parametrize(("name", "message"), [("none", "no such source"), ("a.tar.gz", "decompress"), (".", "no pic")])
def test_what_is_no_source_is_refused(tmp_path: Path, name: str, message: str) -> None:
    touch(tmp_path, "a.tar.gz", "text.txt")
    with pytest.raises(BadInput, match=message):
        list_sources([tmp_path / name])


def test_archives_in_a_folder_are_pointed_at(tmp_path: Path) -> None:
    touch(tmp_path, "n01.tar")
    with pytest.raises(BadInput, match=r"\*\.tar"):
        list_sources([tmp_path])
    with pytest.raises(BadInput, match="unpack"):
        list_pictures([tmp_path / "n01.tar"])


@pytest.mark.parametrize("line", ["s3://bucket/a.jpg", "https://host/a.jpg", "gs://bucket/a.jpg"])
def test_addresses_in_a_list_are_refused(tmp_path: Path, jpeg: bytes, line: str) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.jpg'}\n{line}\n")
    with pytest.raises(BadInput, match=rf"(?s)an address in a list.*line 2.*{line}.*source by itself"):
        list_sources([], [tmp_path / "list.txt"])
    with pytest.raises(BadInput, match="a list at an address"):
        list_sources([], [Path(line)])
