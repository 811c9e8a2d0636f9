"""Exact duplicates: equal bytes, wherever they lie, and nothing else."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from pipeline.sharding.duplicates import PROBE, find_duplicates
from pipeline.sources.listing import list_sources


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def names(*sources: Path) -> dict[str, str]:
    listed = list_sources(sources)
    return {listed[later].name: listed[first].name for later, first in find_duplicates(listed).items()}


def test_every_later_twin_is_found(tmp_path: Path) -> None:
    files = {"b.jpg": b"xy", "a/z.jpg": b"xy", "c.jpg": b"xz", "d.jpg": b"xy", "e.jpg": b"xyz", "f.jpg": b""}
    assert names(write(tmp_path, files)) == {"b.jpg": "a/z.jpg", "d.jpg": "a/z.jpg"}


@pytest.mark.parametrize("place", [0, 20_000, 39_999])
def test_files_that_differ_in_one_byte_anywhere_are_no_twins(tmp_path: Path, place: int) -> None:
    assert PROBE < 10_000
    other = bytearray(40_000)
    other[place] = 1
    assert names(write(tmp_path, {"a.jpg": bytes(40_000), "b.jpg": bytes(other)})) == {}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_twins_are_found_across_folders_and_tars(tmp_path: Path, method: int) -> None:
    folder = write(tmp_path / "folder", {"a.jpg": bytes(range(256)) * 60, "b.jpg": b"other"})
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", folder, "a.jpg"], check=True)
    assert names(folder, tmp_path / "a.tar") == {"a.jpg": "a.jpg"}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.write(folder / "a.jpg", "in-zip.jpg")
    assert names(folder, tmp_path / "a.zip") == {"in-zip.jpg": "a.jpg"}


def test_a_link_to_a_picture_is_its_twin(tmp_path: Path) -> None:
    write(tmp_path, {"a.jpg": b"x"})
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    assert names(tmp_path) == {"b.jpg": "a.jpg"}
