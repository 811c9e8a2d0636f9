"""`n2n bench renders` runs every stage on real files."""

from pathlib import Path
from typing import Any


def test_every_stage_has_a_rate(run_verb: Any, render_set: Path) -> None:
    options = ("--crop", 32, "--batch", 2, "--seconds", 0.05)
    done = run_verb("launch.cli", "bench", "renders", render_set.parent / "exr", *options)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: float(line.split()[-1]) for line in done.stdout.splitlines()[1:]}
    assert list(rows) == ["decoding", "sharding", "cropping", "training"]
    assert min(rows.values()) > 0
    assert "9 channels in" in done.stdout
    assert rows["sharding"] < 2 * rows["decoding"]


def test_a_folder_without_renders_is_one_message(run_verb: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_verb("launch.cli", "bench", "renders", "empty")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
