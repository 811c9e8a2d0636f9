"""Folders of EXR files become sets of realisations; nothing that was there goes without a word."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.exr.pixels import encode
from pipeline.index import load_index
from pipeline.realisations import RealisationSet
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.render_shards import RenderShardConfig, shard_renders
from tests.conftest import folder_bytes


def save(path: Path, seed: int, **layers: float) -> None:
    """Radiance around 0.2 and layers around their own level, all of one seed."""
    rng = np.random.default_rng(seed)
    channels = {letter: rng.gamma(2, 0.1, (48, 80)).astype(np.float16) for letter in "RGB"}
    for layer, level in layers.items():
        channels |= {f"{layer}.{letter}": rng.normal(level, 0.01, (48, 80)).astype(np.float16) for letter in "RGB"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(channels))


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of two or three realisations, one of them with an equal pair, and files that fit nowhere."""
    folder = tmp_path_factory.mktemp("renders")
    for frame in range(6):
        for number, name in enumerate("abc"[: 2 + frame % 2]):
            seed = 100 * frame + (0 if frame == 4 else number)
            save(folder / f"shot.{frame:04d}_{name}_0008spp.exr", seed, albedo=0.5)
    save(folder / "shot.0000_ref_1024spp.exr", 77)
    save(folder / "alone_a.exr", 78)
    save(folder / "shot.0001.exr", 79)
    return folder


CONFIG = RenderShardConfig(plan=PlanConfig(shard_mb=0.2), max_bad=0.5)


@pytest.fixture(scope="module")
def made(renders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sets") / "set"
    shard_renders([renders], out, CONFIG)
    return out


def test_frames_are_samples_of_realisations(made: Path) -> None:
    opened = RealisationSet(made)
    about = {opened.about(sample)["source"]: sample for sample in range(len(opened))}
    assert sorted(about) == [f"shot.000{frame}" for frame in (0, 1, 2, 3, 5)]
    for frame in (0, 1, 2, 3, 5):
        sample = about[f"shot.000{frame}"]
        assert opened.buffers(sample) == ["albedo", "color"]
        assert opened.realisations(sample) == 2 + frame % 2
        assert opened.has_reference(sample) == (frame == 0)
        for number in range(2):  # in the order of their names, with their own albedo
            rng = np.random.default_rng(100 * frame + number)
            color = [rng.gamma(2, 0.1, (48, 80)).astype(np.float16) for _ in "RGB"]
            albedo = [rng.normal(0.5, 0.01, (48, 80)).astype(np.float16) for _ in "RGB"]
            assert np.array_equal(opened.pixels(sample, "color", number), color)
            assert np.array_equal(opened.pixels(sample, "albedo", number), albedo)
    assert opened.about(about["shot.0000"])["reference_spp"] == 1024
    assert len(opened.index.shards) > 1


def test_every_file_left_out_is_listed_with_the_reason(made: Path) -> None:
    left_out = {lost.source: (lost.kind, lost.reason) for lost in load_index(made).left_out}
    assert left_out.keys() == {"alone_a.exr", "shot.0001.exr", "shot.0004"}
    assert left_out["alone_a.exr"] == ("unpaired", "alone has one realisation, which pairs with nothing")
    assert left_out["shot.0001.exr"][0] == "spare"
    assert "the same picture" in left_out["shot.0004"][1]


def test_any_number_of_workers_gives_the_same_bytes(renders: Path, made: Path, tmp_path: Path) -> None:
    config = RenderShardConfig(plan=PlanConfig(shard_mb=0.2), max_bad=0.5, workers=2)
    shard_renders([renders], tmp_path / "set", config)
    assert folder_bytes(tmp_path / "set") == folder_bytes(made)


def test_too_many_bad_frames_fail(renders: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"too many(.|\n)*the same picture"):
        shard_renders([renders], tmp_path / "set", RenderShardConfig())
    assert not (tmp_path / "set" / "index.json").exists()


def test_views_of_one_scene_and_frames_of_one_shot_are_in_one_part(tmp_path: Path, run_verb: Any) -> None:
    for scene in range(6):
        for number, view in enumerate(("-view000", "-view001", ".0001", ".0002")):
            for seed in (1, 2):
                save(tmp_path / f"in/room{scene}{view}_seed{seed}_0008spp.exr", 1000 * scene + 10 * number + seed)
    done = run_verb("pipeline.shard", "--renders", "in", "--out", "out", "--split", "val=0.4", "--workers", 1)
    assert done.returncode == 0, done.stderr
    parts = {}
    for part in ("train", "val"):
        opened = RealisationSet(tmp_path / "out" / part)
        names = [opened.about(sample)["source"] for sample in range(len(opened))]
        assert len(names) % 2 == 0
        parts[part] = {name.partition("-")[0].partition(".")[0] + name[len("room0")] for name in names}
        assert len(parts[part]) == len(names) / 2  # of a scene, either all views or all frames
    assert parts["train"]
    assert not parts["train"] & parts["val"]


def test_by_the_command_line(renders: Path, tmp_path: Path, run_verb: Any) -> None:
    out = tmp_path / "tiled"
    options = ["--renders", renders, "--out", out, "--tile", 32, "--max-bad", 0.5, "--workers", 1]
    done = run_verb("pipeline.shard", *options, "--channels", "color=albedo.[RGB]")
    assert done.returncode == 0, done.stderr
    assert "24 frames in 1 shards" in done.stdout  # four frames in 2 x 3 tiles
    assert "left out: alone_a.exr: alone has one realisation" in done.stdout
    assert "left out: shot.0000: no channels for color" in done.stdout  # its reference has no albedo
    opened = RealisationSet(out)
    assert {opened.size(sample) for sample in range(24)} <= {(24, 26), (24, 27)}
    assert opened.pixels(0, "color").astype(np.float32).mean() == pytest.approx(0.5, abs=0.01)  # as --channels says
    assert opened.buffers(0) == ["color"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "val=0.1"], "a part of the split is empty"),
        (["--grey"], "--grey is for pictures"),
        (["--keep-duplicates"], "--keep-duplicates is for pictures"),
        (["--white", "255"], "--white is for --pairs"),
        (["--tile", "4"], "--tile is too small"),
        (["--channels", "albedo"], "not a mapping of channels"),
        (["--renders-pattern", "(?P<shot>.+)"], "a pattern without the groups"),
    ],
)
def test_wrong_options_are_one_message(
    options: list[str], message: str, renders: Path, tmp_path: Path, run_verb: Any
) -> None:
    done = run_verb("pipeline.shard", "--out", tmp_path / "x", *options, "--renders", renders)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
