"""Files are whole or absent."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.atomic import write_whole
from pipeline.errors import BadInput


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with write_whole(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def stop_half_way() -> None:
        with write_whole(tmp_path / "file") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop_half_way()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_room() -> Iterator[None]:
    """Files of at most 1,000 bytes for this process, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, no_room: None) -> None:
    with pytest.raises(BadInput, match="the disk refused"), write_whole(tmp_path / "file") as file:
        file.write(bytes(5000))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"), write_whole(tmp_path / "none" / "file"):
        pass
