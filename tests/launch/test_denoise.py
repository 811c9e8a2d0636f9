"""Denoising files: any size, the same format out."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launch import denoise
from launch.denoising.asked_files import asked_files
from pipeline.errors import BadInput
from pipeline.picture import Picture, decode, encode

PIXELS = np.random.default_rng(0).integers(0, 65536, (3, 45, 37), dtype=np.uint16)


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """One picture of every kind."""
    folder = tmp_path / "noisy"
    folder.mkdir()
    eight = (PIXELS >> 8).astype(np.uint8)
    alpha = eight[:1]
    for name, picture in {
        "colour.png": Picture(eight, None, None),
        "grey.png": Picture(eight[:1], None, None),
        "alpha.png": Picture(eight, alpha, None),
        "photo.jpg": Picture(eight, None, None),
        "web.webp": Picture(eight, None, None),
        "old.bmp": Picture(eight, None, None),
        "deep.png": Picture(PIXELS, None, None),
        "deepgrey.png": Picture(PIXELS[:1], None, None),
        "deep.tif": Picture(PIXELS, None, None),
        "pixel.png": Picture(eight[:, :1, :1].copy(), None, None),
        "row.png": Picture(np.tile(eight[:, :1], (1, 1, 40)), None, None),
    }.items():
        (folder / name).write_bytes(encode(picture, Path(name).suffix))
    return folder


def kind(path: Path) -> str | None:
    with Image.open(path) as image:
        return image.format


def test_every_kind_comes_out_as_it_went_in(run_verb: Any, trained: Path, noisy: Path, tmp_path: Path) -> None:
    done = run_verb("launch.denoise", trained, noisy, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for path in noisy.iterdir():
        before, after = decode(path.read_bytes(), path), decode((tmp_path / "out" / path.name).read_bytes(), path)
        assert kind(path) == kind(tmp_path / "out" / path.name)
        assert (after.pixels.shape, after.bits) == (before.pixels.shape, before.bits), path.name
        assert (after.pixels != before.pixels).any(), path.name
        if before.alpha is not None:
            assert (after.alpha == before.alpha).all()


def test_an_input_is_never_overwritten(run_verb: Any, trained: Path, noisy: Path) -> None:
    before = (noisy / "colour.png").read_bytes()
    done = run_verb("launch.denoise", trained, noisy / "colour.png", "--out", noisy)
    assert done.returncode == 2
    assert "overwrite" in done.stderr
    assert (noisy / "colour.png").read_bytes() == before


def test_two_inputs_of_one_name_are_refused(run_verb: Any, trained: Path, noisy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "grey.png").write_bytes((noisy / "grey.png").read_bytes())
    done = run_verb("launch.denoise", trained, noisy / "grey.png", other / "grey.png", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "two pictures of one name" in done.stderr


def test_the_others_still_get_done(run_verb: Any, trained: Path, noisy: Path, tmp_path: Path) -> None:
    """Of a folder of everything: bad files are told one by one, the rest is done, and the exit code says so."""
    (noisy / "deeper").mkdir()
    np.save(noisy / "deeper" / "array.npy", np.where(PIXELS[0] < 99, np.nan, PIXELS[0] / 65535))
    (noisy / "empty.png").touch()
    (noisy / "cut.jpg").write_bytes((noisy / "photo.jpg").read_bytes()[:300])
    (noisy / "notes.txt").write_text("no picture")
    done = run_verb("launch.denoise", trained, noisy, "--out", "out", "--compare", "compare")
    assert done.returncode == 2, done.stderr
    assert done.stdout == (
        "12 denoised, in out; 2 failed; 4 samples of NaN or infinity filled; 1 other files passed over\n"
    )
    assert done.stderr.count("error: ") == 2
    assert "an empty file" in done.stderr
    assert "Traceback" not in done.stderr
    assert "samples were NaN or infinite" in done.stderr
    good = {str(path.relative_to(noisy)) for path in noisy.rglob("*.*")} - {"empty.png", "cut.jpg", "notes.txt"}
    assert files(tmp_path / "out") == good | {".n2n-denoise.jsonl"}
    assert files(tmp_path / "compare") == {f"{name}.png" for name in good}
    # The same again does only what has failed, and a file that has changed; other options do all.
    stamps = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in good}
    (noisy / "cut.jpg").write_bytes((noisy / "photo.jpg").read_bytes())
    (noisy / "empty.png").write_bytes((noisy / "grey.png").read_bytes())
    os.utime(noisy / "row.png")
    done = run_verb("launch.denoise", trained, noisy, "--out", "out")
    assert done.stdout == "3 denoised, in out; 11 were finished before; 1 other files passed over\n", done.stderr
    changed = {name for name in good if (tmp_path / "out" / name).stat().st_mtime_ns != stamps[name]}
    assert changed == {"row.png"}
    assert "14 denoised" in run_verb("launch.denoise", trained, noisy, "--out", "out", "--self-ensemble").stdout


def test_results_within_the_folder_are_no_sources(tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.npy", "out/a.png", "compare/a.png.png", ".hidden/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    asked = asked_files([str(tmp_path)], tmp_path / "out", compare=tmp_path / "compare")
    assert {str(path.relative_to(tmp_path)) for path in asked.targets} == {"a.png", "deep/b.npy"}
    with pytest.raises(BadInput, match="overwrite"):
        asked_files([str(tmp_path)], tmp_path)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_ranks_share_the_files_of_a_sequence(run_verb: Any, trained: Path, noisy: Path, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"shot_{number:04d}.png").write_bytes((noisy / "grey.png").read_bytes())
    (tmp_path / "shot_0003.png").write_bytes(b"not a picture")
    done = run_verb("launch.denoise", trained, "shot_%04d.png", "--out", "out", ranks=2)
    assert done.returncode != 0
    assert "4 denoised, in out; 1 failed" in done.stdout, done.stderr
    assert done.stderr.count("not a readable picture") == 1
    assert files(tmp_path / "out") == {f"shot_{number:04d}.png" for number in (0, 1, 2, 4)} | {".n2n-denoise.jsonl"}
    assert len((tmp_path / "out" / ".n2n-denoise.jsonl").read_text().splitlines()) == 4


def test_through_a_pipe(run_verb: Any, trained: Path, noisy: Path, tmp_path: Path, child_environment: Any) -> None:
    assert run_verb("launch.denoise", trained, noisy / "deep.tif", "--out", "out").returncode == 0
    command = [sys.executable, "-m", "launch.denoise", str(trained), "-", "--out", "-"]
    data = (noisy / "deep.tif").read_bytes()
    done = subprocess.run(command, input=data, env=child_environment, capture_output=True, check=True)
    piped, filed = decode(done.stdout, "stdout"), decode((tmp_path / "out" / "deep.tif").read_bytes(), "file")
    assert np.array_equal(piped.pixels, filed.pixels)
    done = subprocess.run(command, input=b"no picture", env=child_environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"not a readable picture" in done.stderr


def test_a_killed_run_goes_on_where_it_was(
    run_verb: Any, trained: Path, noisy: Path, tmp_path: Path, child_environment: Any
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:02d}.png").write_bytes((noisy / "colour.png").read_bytes())
    command = [sys.executable, "-m", "launch.denoise", str(trained), str(folder), "--out", str(tmp_path / "out")]
    journal = tmp_path / "out" / ".n2n-denoise.jsonl"
    with subprocess.Popen(command, env=child_environment, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (journal.exists() and len(journal.read_bytes().splitlines()) > 2):
            pass
        process.kill()
    before = len(journal.read_bytes().splitlines())
    assert 2 < before < 60
    done = run_verb("launch.denoise", trained, folder, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert f"{60 - before} denoised, in out; {before} were finished before" in done.stdout
    assert len(files(tmp_path / "out")) == 61


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["none.png", "--out", "out"], "no such source"),
        (["none*.png", "--out", "out"], "nothing fits the pattern"),
        ([".", "--out", "out"], "no pictures"),
        (["-", "--out", "out"], "half a pipe"),
        (["-", "--out", "-", "--compare", "c"], "nothing to compare in a pipe"),
        (["x.png", "--out", "out", "--white", "0"], "--white 0"),
        (["x.png", "--out", "out", "--tile", "0"], "tile 0"),
    ],
)
def test_bad_options_are_told(
    trained: Path, tmp_path: Path, options: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").write_bytes(b"x")
    arguments = options if options[0] != "." else [str(trained / "checkpoints"), *options[1:]]
    with pytest.raises(BadInput, match=told.replace("*", r"\*")):
        denoise.main([str(trained), *arguments])
    assert not (tmp_path / "out").exists()
