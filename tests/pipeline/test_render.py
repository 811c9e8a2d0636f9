"""The verb render: from rooms or a scene's file to a set of shards, in parts, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.realisations import RealisationSet

SCENE = """<scene version="3.0.0">
  <integrator type="path"><integer name="max_depth" value="3"/></integrator>
  <sensor type="perspective"><float name="fov" value="40"/>
    <transform name="to_world"><lookat origin="0, 1, 6" target="0, 0, 0" up="0, 1, 0"/></transform></sensor>
  <emitter type="constant"/>
  <shape type="sphere"><bsdf type="diffuse"><rgb name="reflectance" value="0.7, 0.4, 0.2"/></bsdf></shape>
</scene>"""
SMALL = ("--size=16x16", "--spp=1", "--variant=scalar_rgb")


def test_rooms_and_scenes_become_shards(tmp_path: Path, run_verb: Any) -> None:
    pytest.importorskip("mitsuba")
    (tmp_path / "ball.xml").write_text(SCENE)
    options = ("ball.xml", "--rooms=1", "--views=2", *SMALL, "--reference-spp=2")
    done = run_verb("pipeline.render", *options, "--out=out", "--part=1/2")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.exr"))) == 2 * 3
    done = run_verb("pipeline.render", *options, "--out=out")
    assert done.returncode == 0, done.stderr
    assert "6 files of them made now" in done.stdout
    names = sorted(path.name for path in (tmp_path / "out").glob("*.exr"))
    assert len(names) == 4 * 3
    done = run_verb("pipeline.shard", "--renders", "out", "--out=set", "--audit=keep")
    assert done.returncode == 0, done.stderr
    frames = RealisationSet(tmp_path / "set")
    assert len(frames) == 4
    for sample in range(4):
        assert frames.realisations(sample) == 2
        assert frames.has_reference(sample)
        assert frames.buffers(sample) == ["albedo", "color", "depth", "normal"]
        assert len(set(frames.about(sample)["seeds"])) == 2
    views = [frames.pixels(sample, "normal").tobytes() for sample in range(4)]
    assert len(set(views)) == 4  # every camera of its own
    done = run_verb("pipeline.render", *options, "--out=out", "--seed=1")
    assert done.returncode == 2
    assert "rendered otherwise" in done.stderr
    assert json.loads((tmp_path / "out/render.json").read_text())["seed"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to render"),
        (["none.xml"], "not a scene"),
        (["--rooms=1", "--size=16"], "not a size"),
        (["--rooms=1", "--spp=0"], "--spp 0"),
        (["--rooms=1", "--part=2/2"], "impossible part"),
        (["--rooms=1", "--seed=-1"], "impossible seed"),
    ],
)
def test_impossible_options_are_one_message(options: list[str], message: str, tmp_path: Path, run_verb: Any) -> None:
    done = run_verb("pipeline.render", "--out=out", *SMALL[2:], *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_scene_that_is_none_is_one_message(tmp_path: Path, run_verb: Any) -> None:
    pytest.importorskip("mitsuba")
    (tmp_path / "broken.xml").write_text("<scene version='3.0.0'><shape type='nonsense'/></scene>")
    (tmp_path / "blind.xml").write_text("<scene version='3.0.0'><emitter type='constant'/></scene>")
    for name, message in (("broken.xml", "cannot load"), ("blind.xml", "cannot be moved")):
        done = run_verb("pipeline.render", name, "--out", f"out-{name}", *SMALL)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not list((tmp_path / f"out-{name}").glob("*.exr"))
