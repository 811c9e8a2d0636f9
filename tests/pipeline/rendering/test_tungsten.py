"""Scenes of Tungsten's, by a stand-in for the program.

It does what is known of Tungsten: one seed for every run that gives none, adaptive and stratified sampling unless they
are switched off, paths beside the scene, no OpenEXR files where it was built without, a lamp's radiance as its albedo.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.exr.buffers import read_frame
from pipeline.exr.container import parse
from pipeline.realisations import RealisationSet
from pipeline.rendering.frame_files import Samples, seeds
from pipeline.rendering.renderer import Film
from pipeline.rendering.scenes import View
from pipeline.rendering.tungsten import TungstenRenderer
from tests.conftest import ROOT

PROGRAM = f"""#!{sys.executable}
import argparse, json, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
import numpy as np
from pipeline.exr.pixels import encode

parser = argparse.ArgumentParser()
parser.add_argument("-s", "--seed", type=int, default=0xBA5EBA11)
parser.add_argument("-t", "--threads", type=int)
parser.add_argument("scenes", nargs="+")
options = parser.parse_args()
for name in options.scenes:
    scene = json.loads(Path(name).read_text())
    settings, camera = scene["renderer"], scene["camera"]
    if not Path(scene["mesh"]).exists():
        sys.exit("Unable to load " + scene["mesh"])
    width, height = camera["resolution"]
    random = np.random.default_rng(1 if settings.get("stratified_sampler", True) else options.seed)
    view = 0.5 + 0.4 * np.sin(np.arange(width) / 3 + sum(camera["transform"]["position"]))
    light = view * np.ones((height, 1))
    spread = 0.5 if settings.get("adaptive_sampling", True) else 1.0
    pictures = {{settings.get("hdr_output_file"): lambda c: light * random.gamma(settings["spp"], 1, light.shape)
        / settings["spp"] * spread}}
    for buffer in settings.get("output_buffers", []):
        kind = buffer["type"]
        scale = {{"albedo": 18.0, "normal": 0.5, "depth": 3.0}}[kind]
        pictures[buffer["hdr_output_file"]] = lambda c, scale=scale: np.full(light.shape, scale)
    Path(settings.get("output_file", "TungstenRender.png")).write_bytes(b"a picture")
    if {{built_with_openexr}}:
        for file, make in pictures.items():
            Path(file).write_bytes(encode({{c: make(c).astype(np.float16) for c in "RGB"}}))
"""
SCENE: dict[str, Any] = {
    "mesh": "models/ball.wo3",
    "integrator": {"type": "path_tracer"},
    "camera": {
        "type": "pinhole",
        "fov": 50,
        "resolution": [1920, 1080],
        "reconstruction_filter": "tent",
        "transform": {"position": [0, 1, 6], "look_at": [0, 0.5, 0], "up": [0, 1, 0]},
    },
    "renderer": {"spp": 64, "output_directory": "/nowhere", "output_file": "ball.png", "scene_bvh": True},
}
DOWN = {"position": [0, 1, 6], "look_at": [0, 0, 6], "up": [0, 0, 1]}
FILM = Film(width=48, height=32)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return install(tmp_path / "bin/tungsten", openexr=True)


def install(path: Path, openexr: bool) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(PROGRAM.replace("{built_with_openexr}", str(openexr)))
    path.chmod(0o755)
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scenes/ball.json"
    (path.parent / "models").mkdir(parents=True)
    (path.parent / "models/ball.wo3").touch()
    path.write_text(json.dumps(SCENE))
    return path


def opened(program: Path, scene: Path, number: int = 0) -> TungstenRenderer:
    return TungstenRenderer(program, View(f"ball-view{number:03d}", 0, scene, number), FILM, threads=1)


def test_noise_is_independent_and_the_scene_stays_as_it_is(program: Path, scene: Path) -> None:
    renderer, numbers = opened(program, scene), seeds(View("ball", 0, scene, 0), Samples(realisations=4), FILM)
    a, b, c, d = (renderer.radiance(4, seed) for seed in numbers)
    assert a.shape == (3, 32, 48)
    bound = 5 / np.sqrt(a.size)
    assert abs(np.corrcoef((a - c).ravel(), (b - d).ravel())[0, 1]) < bound
    assert np.corrcoef((a - c).ravel(), (a - d).ravel())[0, 1] > 0.3  # with a render in common: the bound can fail
    assert np.array_equal(renderer.radiance(4, numbers[0]), a)
    assert sorted(path.name for path in scene.parent.iterdir()) == ["ball.json", "models"]
    assert json.loads(scene.read_text()) == SCENE


def test_what_makes_renders_dependent_is_off(program: Path, scene: Path) -> None:
    """With adaptive sampling the stand-in would lose half of the light; with stratified one its seeds mean nothing."""
    renderer = opened(program, scene)
    said = renderer.settings(4, ("color", "albedo"))
    assert (said["spp"], said["adaptive_sampling"], said["stratified_sampler"]) == (4, False, False)
    assert said["scene_bvh"] is True
    assert not {"output_directory", "output_file"} & said.keys()
    assert renderer.scene["camera"] | {"transform": 0} == {
        **{"type": "pinhole", "fov": 50, "resolution": [48, 32], "reconstruction_filter": "box", "transform": 0}
    }
    noisy = np.mean([renderer.radiance(4, seed) for seed in range(8)])
    assert noisy == pytest.approx(0.53, abs=0.03)


def test_buffers_are_those_of_a_denoiser(program: Path, scene: Path) -> None:
    buffers = opened(program, scene).render(4, 5)
    assert {name: planes.shape[0] for name, planes in buffers.items()} == {
        **{"color": 3, "albedo": 3, "normal": 3, "depth": 1}
    }
    assert buffers["albedo"].max() == 1


def test_other_views_are_of_moved_cameras(program: Path, scene: Path) -> None:
    cameras = [opened(program, scene, number).scene["camera"]["transform"] for number in (0, 1, 2, 1)]
    assert cameras[0] == SCENE["camera"]["transform"]
    assert cameras[1] == cameras[3] != cameras[2]
    for camera in cameras[1:]:
        position, target = np.array(camera["position"]), np.array(camera["look_at"])
        assert np.linalg.norm(target - position) == pytest.approx(np.hypot(0.5, 6))
        assert 0 < np.linalg.norm(position - [0, 1, 6]) < 1
        assert camera["up"] == [0, 1, 0]


def test_scenes_become_shards(program: Path, scene: Path, tmp_path: Path, run_verb: Any) -> None:
    options = (scene, "--views=2", "--size=48x32", "--spp=4", "--reference-spp=16", "--tungsten", program)
    done = run_verb("pipeline.render", *options, "--out=out", "--part=0/2")
    assert done.returncode == 0, done.stderr
    assert "3 renders of them made now, with tungsten" in done.stdout
    done = run_verb("pipeline.render", *options, "--out=out", "--workers=2")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "out").glob("*.exr"))
    assert len(names) == 2 * 3
    file = parse((tmp_path / "out" / names[-1]).read_bytes(), names[-1])
    assert b"tungsten" in file.headers[0].attributes["n2n.renderer"].value
    assert set(read_frame(file).buffers) >= {"color", "albedo", "normal", "depth"}
    done = run_verb("pipeline.shard", "--renders", "out", "--out=set", "--audit=keep")
    assert done.returncode == 0, done.stderr
    frames = RealisationSet(tmp_path / "set")
    assert [frames.has_reference(sample) for sample in range(len(frames))] == [True, True]
    # Another build is another renderer.
    program.write_text(program.read_text() + "\n")
    done = run_verb("pipeline.render", *options, "--out=out")
    assert done.returncode == 2
    assert "rendered otherwise" in done.stderr


def test_a_build_without_openexr_is_told(scene: Path, tmp_path: Path) -> None:
    program = install(tmp_path / "bin/tungsten", openexr=False)
    with pytest.raises(BadInput, match="wrote no OpenEXR file"):
        opened(program, scene).radiance(1, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a scene of Tungsten's"),
        ("{}", "not a scene of Tungsten's"),
        ("[]", "not a scene of Tungsten's"),
        (json.dumps(SCENE | {"mesh": "gone.wo3"}), "Unable to load gone.wo3"),
        (json.dumps(SCENE | {"camera": {"transform": [1, 0, 0, 0]}}), "cannot be moved"),
        (json.dumps(SCENE | {"camera": {"transform": DOWN}}), "it looks straight up or down"),
    ],
)
def test_scenes_that_are_none_are_one_message(program: Path, scene: Path, content: str, message: str) -> None:
    scene.write_text(content)
    with pytest.raises(BadInput, match=message):
        opened(program, scene, 0 if "gone" in message else 1).radiance(1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["ball.json", "--tungsten=/none"], "no such renderer"),
        (["--rooms=1", "--tungsten=/bin/true"], "no scene is Tungsten's"),
    ],
)
def test_impossible_options_are_one_message(options: list[str], message: str, tmp_path: Path, run_verb: Any) -> None:
    (tmp_path / "ball.json").write_text(json.dumps(SCENE))
    done = run_verb("pipeline.render", "--out=out", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
