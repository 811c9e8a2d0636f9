"""Open files: as many as are allowed, and none left open."""

import os
from pathlib import Path

import pytest

from pipeline.descriptors import OPEN_FILES, Descriptors


def open_now() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_more_files_than_may_be_open_are_read_in_turn(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(OPEN_FILES + 20)]
    for path in paths:
        path.write_text(path.name)
    before, descriptors = open_now(), Descriptors()
    for _ in range(2):
        for path in paths:
            assert os.pread(descriptors.get(path), 9, 0).decode() == path.name
    assert open_now() - before == OPEN_FILES
    descriptors.close()
    assert open_now() == before


def test_the_one_not_used_for_longest_is_closed(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(OPEN_FILES + 1)]
    for path in paths:
        path.touch()
    descriptors = Descriptors()
    kept = [descriptors.get(path) for path in paths[:2]]
    for path in paths[2:-1]:
        descriptors.get(path)
    assert descriptors.get(paths[0]) == kept[0]
    descriptors.get(paths[-1])  # one too many: the second goes, as the first was used again
    assert os.readlink(f"/proc/self/fd/{kept[0]}") == str(paths[0])
    assert descriptors.get(paths[0]) == kept[0]
    assert os.readlink(f"/proc/self/fd/{kept[1]}") == str(paths[-1])


def test_a_missing_file_raises_and_files_close_with_their_keeper(tmp_path: Path) -> None:
    before, descriptors = open_now(), Descriptors()
    with pytest.raises(FileNotFoundError):
        descriptors.get(tmp_path / "none")
    (tmp_path / "a").touch()
    descriptors.get(tmp_path / "a")
    del descriptors
    assert open_now() == before
