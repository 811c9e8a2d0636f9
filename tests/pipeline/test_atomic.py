"""Files are whole or absent."""

import subprocess
import sys
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


CROWDED = """
import resource, sys
from pathlib import Path
from pipeline.atomic import write_whole
from pipeline.errors import BadInput
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with write_whole(Path(sys.argv[1])) as file:
        file.write(bytes(5000))
except BadInput as error:
    print(error)
"""


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """Files of at most 1,000 bytes fail as a full disk does; in a process of its own, or this one's log would too."""
    command = [sys.executable, "-c", CROWDED, str(tmp_path / "file")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert "the disk refused" in done.stdout
    assert str(tmp_path / "file") in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"), write_whole(tmp_path / "none" / "file"):
        pass
