"""`n2n shard --pairs`: what is stored of real shots, what is left out and why, and that no scene is split."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from pipeline.errors import BadInput
from pipeline.index import load_index
from pipeline.realisations import RealisationSet
from pipeline.shard import main
from tests.conftest import folder_bytes, noisy_shots


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    path.write_bytes(imagecodecs.png_encode(samples[..., 0] if samples.shape[2] == 1 else samples))


@pytest.fixture(scope="module")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good scenes of 16-bit PNG, and four that cannot be paired."""
    folder = tmp_path_factory.mktemp("bursts")
    for seed in range(6):
        shots, clean = noisy_shots(seed, 2 + seed % 2, size=128)
        for number, shot in enumerate(shots):
            write(folder / f"good{seed}" / f"shot{number}.png", shot)
        write(folder / f"good{seed}" / "clean.png", clean)
    shots = noisy_shots(9, 3, size=128)[0]
    write(folder / "single" / "a.png", shots[0])
    write(folder / "sizes" / "a.png", shots[0])
    write(folder / "sizes" / "b.png", shots[1][:, :100])
    write(folder / "broken" / "a.png", shots[0])
    (folder / "broken" / "b.png").write_bytes(b"\x89PNG nonsense")
    write(folder / "twins" / "a.png", shots[0])
    write(folder / "twins" / "b.png", shots[0])
    write(folder / "twins2" / "a.png", shots[0])
    write(folder / "twins2" / "b.png", shots[0])
    write(folder / "twins2" / "c.png", shots[1])
    return folder


def shard(folder: Path, out: Path, *options: str) -> RealisationSet:
    main(["--pairs", "folders", str(folder), "--out", str(out), "--max-bad", "0.5", "--workers", "1", *options])
    return RealisationSet(out)


def test_good_scenes_are_stored_and_the_others_listed(bursts: Path, tmp_path: Path) -> None:
    opened = shard(bursts, tmp_path / "set")
    stored = {opened.about(sample)["source"]: sample for sample in range(len(opened))}
    assert sorted(stored) == [*(f"good{seed}" for seed in range(6)), "twins2"]
    for seed in range(6):
        shots, clean = noisy_shots(seed, 2 + seed % 2, size=128)
        sample = stored[f"good{seed}"]
        assert opened.realisations(sample) == len(shots)
        for number, shot in enumerate(shots):
            np.testing.assert_array_equal(opened.pixels(sample, "color", number), shot)
        np.testing.assert_array_equal(opened.pixels(sample, "reference"), clean)
    assert opened.about(stored["twins2"])["shots"] == ["a", "c"]
    assert "identical" in opened.about(stored["twins2"])["left_out"]
    left_out = {entry.source: (entry.kind, entry.reason) for entry in opened.index.left_out}
    assert {name: kind for name, (kind, _) in left_out.items()} == {
        **{"single": "unpaired", "sizes": "unpaired"},
        **{"broken": "unreadable", "twins": "audit"},
    }
    assert "1 shot" in left_out["single"][1]
    assert "different size" in left_out["sizes"][1]
    assert "identical" in left_out["twins"][1]


def test_offenders_may_be_refused_or_kept(bursts: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="fails the audit"):
        shard(bursts, tmp_path / "refused", "--audit", "refuse")
    assert not (tmp_path / "refused" / "index.json").exists()
    assert len(shard(bursts, tmp_path / "kept", "--audit", "keep")) == 8


def test_workers_change_nothing_and_a_split_keeps_scenes_whole(bursts: Path, tmp_path: Path) -> None:
    options = ("--pairs", "folders", str(bursts), "--max-bad", "0.5", "--split", "val=0.4", "--shard-mb", "0.2")
    for workers in (1, 2):
        main([*options, "--out", str(tmp_path / str(workers)), "--workers", str(workers)])
    assert folder_bytes(tmp_path / "1") == folder_bytes(tmp_path / "2")
    parts = [RealisationSet(tmp_path / "1" / part) for part in ("train", "val")]
    names = [{part.about(sample)["source"] for sample in range(len(part))} for part in parts]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 7


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_stacks_of_microscopy(tmp_path: Path, dtype: str) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "stacks").mkdir()
    stack = (100 + 10 * random.normal(size=(5, 64, 72))).astype(dtype)
    tifffile.imwrite(tmp_path / "stacks" / "cell.tif", stack, photometric="minisblack")
    main(["--pairs", "stacks", str(tmp_path / "stacks"), "--out", str(tmp_path / "set"), "--workers", "1"])
    opened = RealisationSet(tmp_path / "set")
    assert opened.realisations(0) == 5
    for number in range(5):
        np.testing.assert_array_equal(opened.pixels(0, "color", number)[0], stack[number])


def test_too_many_bad_scenes_are_refused(bursts: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too many"):
        shard(bursts, tmp_path / "set", "--max-bad", "0.01")


@pytest.mark.parametrize(
    "options", [["--grey"], ["--list", "x"], ["--store", "pixels"], ["--pattern", "(?P<scene>a)(?P<shot>b)"]]
)
def test_options_that_do_not_fit_are_refused(bursts: Path, tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(BadInput):
        shard(bursts, tmp_path / "set", *options)


def test_options_of_pairs_are_refused_without_them(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="for --pairs"):
        main([str(pictures), "--out", str(tmp_path), "--white", "4095"])


def test_inspect_audits_verifies_and_draws(bursts: Path, tmp_path: Path, run_verb: Any) -> None:
    shard(bursts, tmp_path / "set", "--audit", "keep")
    shown = run_verb("pipeline.inspect", tmp_path / "set", "--audit", "--verify")
    assert shown.returncode == 0, shown.stderr
    lines = {line.split()[0]: line for line in shown.stdout.splitlines() if line.strip()}
    assert lines["good0"].endswith("good")
    assert "identical" in lines["twins"]
    assert "2 of 8 scenes have defects" in shown.stdout
    assert "every checksum is right" in shown.stdout
    (tmp_path / "pairs.yaml").write_text("corruption: {name: none}\npairs: {crop: 32}\n")
    drawn = run_verb(
        *("pipeline.inspect", tmp_path / "set", "--draw", 3, "--config", tmp_path / "pairs.yaml"),
        *("--out", tmp_path / "pair.png"),
    )
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "pair.png").exists()
    assert load_index(tmp_path / "set").members_sha256
