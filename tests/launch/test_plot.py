"""Curves of real runs as a picture."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from launch.plot import PANELS, curve, draw, labels, main, read_metrics
from pipeline.errors import BadInput


def test_the_numbers_are_those_of_the_run(trained: Path) -> None:
    lines = read_metrics(trained)
    images, losses = curve(lines, ("train/loss",))
    assert images == [4, 8, 12, 16, 20, 24]
    assert losses == [line["train/loss"] for line in lines if "train/loss" in line]
    assert all(curve(lines, names)[0] for _, names, _ in PANELS), "every panel has something to show"
    assert curve(lines, ("nothing",)) == ([], [])


def test_several_runs_are_drawn_over_each_other(trained: Path, tmp_path: Path) -> None:
    """A second run adds a line of its own colour to each panel, and a name."""
    pytest.importorskip("matplotlib")
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    lines = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
    doubled = [{name: value if name == "images" else 2 * value for name, value in line.items()} for line in lines]
    (other / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in doubled))
    pictures = []
    for runs in ([trained], [trained, other]):
        main([*map(str, runs), "--out", str(tmp_path / "new" / "curves.png")])
        with Image.open(tmp_path / "new" / "curves.png") as image:
            pictures.append(np.asarray(image.convert("RGB")).astype(int))
    orange = [np.abs(picture - [255, 127, 14]).sum(-1) < 30 for picture in pictures]
    assert orange[0].sum() == 0
    height, width = orange[1].shape
    for rows in (slice(0, height // 2), slice(height // 2, height)):
        for columns in (slice(0, width // 2), slice(width // 2, width)):
            assert orange[1][rows, columns].sum() > 20


def test_runs_of_one_name_are_told_apart() -> None:
    assert labels([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert labels([Path("/a/x"), Path("/b/x")]) == ["a/x", "b/x"]
    with pytest.raises(BadInput, match="named twice"):
        labels([Path("/a/x"), Path("/a/x")])


def test_what_cannot_be_drawn_is_told(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no run there"):
        main([str(tmp_path)])
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(BadInput, match="no metrics"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"images": 4}\n{"images"')
    assert read_metrics(tmp_path) == [{"images": 4}], "a line cut short by a crash"
    (tmp_path / "metrics.jsonl").write_text("nonsense\n")
    with pytest.raises(BadInput, match="damaged"):
        read_metrics(tmp_path)
    pytest.importorskip("matplotlib")
    with pytest.raises(BadInput, match="unknown kind"):
        draw({"a": []}, tmp_path / "curves.xyz")
