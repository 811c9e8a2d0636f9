"""Checkpoints are whole or refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from launch.checkpoint import list_checkpoints, load_checkpoint, load_latest, save_checkpoint, to_drop
from launch.run_dir import RunDir
from pipeline.errors import BadInput


def save(run: RunDir, images: int) -> Path:
    return save_checkpoint(run, {"images": images, "network": {"w": torch.full((64, 64), float(images))}}, keep=2)


def test_the_newest_is_loaded_and_the_oldest_dropped(run: RunDir) -> None:
    assert load_latest(run) is None
    for images in (5, 10, 1000):
        save(run, images)
    assert [path.name for path in list_checkpoints(run)] == ["000000000010.pt", "000000001000.pt"]
    document = load_latest(run)
    assert document is not None
    assert document["images"] == 1000
    assert float(document["network"]["w"][0, 0]) == 1000


@pytest.mark.parametrize("size", [0, 10, 5_000, 16_000])
def test_one_cut_short_is_refused(run: RunDir, size: int) -> None:
    path = save(run, 5)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadInput, match="a damaged checkpoint"):
        load_checkpoint(path)
    with pytest.raises(BadInput, match="no checkpoint of the run is whole"):
        load_latest(run)


def test_flipped_bits_are_refused(run: RunDir, flip_bit: Callable[[Path, int], None]) -> None:
    """torch.load alone lets a flipped bit in a tensor pass."""
    path = save(run, 5)
    flip_bit(path, path.stat().st_size // 2)
    torch.load(path, weights_only=True)
    with pytest.raises(BadInput, match="checksum"):
        load_checkpoint(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(BadInput, match="not a checkpoint of this project"):
        load_checkpoint(tmp_path / "other.pt")
    with pytest.raises(BadInput, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_a_killed_save_leaves_the_old_ones(run: RunDir) -> None:
    save(run, 5)
    shutil.copy(save(run, 10), run.checkpoints / "000000000015.pt.partial")
    document = load_latest(run)
    assert document is not None
    assert document["images"] == 10


@pytest.mark.parametrize(
    ("clocks", "keep", "every", "dropped"),
    [
        ([5, 10, 15], 2, 0, [5]),
        ([5, 10, 15], 5, 0, []),
        ([40, 80, 120, 160, 200, 240], 1, 100, [40, 80, 160]),
        ([120, 200, 240, 280], 1, 100, [240]),
    ],
)
def test_the_newest_and_one_in_so_many_images_are_kept(
    clocks: list[int], keep: int, every: int, dropped: list[int]
) -> None:
    assert to_drop(clocks, keep, every) == dropped
