"""The verb render: from rooms or a scene's file to a set of shards, in parts, and what it refuses."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.realisations import RealisationSet
from tests.conftest import environment

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
    assert "6 renders of them made now" in done.stdout
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
    done = run_verb("pipeline.inspect", "set", "--audit")
    assert done.returncode == 0, done.stderr
    assert "neighbours" in done.stdout
    assert "shifted" not in done.stdout  # a camera's shots of so little light would seem to be
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
        (["--rooms=1", "--layout=buffers", "--spp=8", "--reference-spp=8"], "none by its name"),
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


ROOMS = ("--rooms=4", "--size=16x16", "--spp=1", "--max-depth=3", "--reference-spp=16", "--variant=scalar_rgb")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_workers_and_kills_change_no_byte(tmp_path: Path, run_verb: Any) -> None:
    """Killed as the kernel does where memory runs out, at random moments: no orphan is left, nothing is half."""
    pytest.importorskip("mitsuba")
    assert run_verb("pipeline.render", *ROOMS, "--out=one").returncode == 0
    assert run_verb("pipeline.render", *ROOMS, "--out=two", "--workers=2").returncode == 0
    whole = files(tmp_path / "one")
    assert len(whole) == 4 * 3 + 1
    assert files(tmp_path / "two") == whole

    out, moments = tmp_path / "killed", random.Random(0)
    command = [sys.executable, "-m", "pipeline.render", *ROOMS, "--out", str(out), "--workers=2"]
    killed = 0
    for least in (1, 4, 8):
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob("*.exr"))) < least:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        own = [Path("/proc") / pid for pid in children.read_text().split()] if process.poll() is None else []
        process.kill()
        killed += process.wait() < 0
        until = time.monotonic() + 20
        while any(alive(child) for child in own):
            assert time.monotonic() < until, "processes of the renderer outlive it"
            time.sleep(0.05)
        finished = {name: data for name, data in files(out).items() if name.endswith(".exr")}
        assert finished == {name: whole[name] for name in finished}
    assert killed
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert files(out) == whole


def alive(process: Path) -> bool:
    """Whether a process still runs; one that is only waited for has ended."""
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
