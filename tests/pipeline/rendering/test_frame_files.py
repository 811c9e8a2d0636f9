"""Renders by Mitsuba: independent noise, references that know their error, and files that are the same after a kill."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.audit import AuditConfig, audit_scene
from pipeline.errors import BadInput
from pipeline.exr.buffers import read_frame
from pipeline.exr.container import parse
from pipeline.radiance import auto_exposure, reinhard
from pipeline.rendering.cameras import Camera, looking
from pipeline.rendering.frame_files import Samples, render_frame, seeds, stems
from pipeline.rendering.interiors import interior
from pipeline.rendering.renderer import LIT, Film, Filter, Renderer, load_mitsuba
from pipeline.rendering.scenes import View, list_views
from pipeline.sharding.frames import load_frame
from pipeline.sharding.render_audit import audit_renders, of_renders
from pipeline.sources.renders import list_renders

pytest.importorskip("mitsuba")

FILM = Film(width=64, height=64, max_depth=4)


@pytest.fixture(scope="module")
def mitsuba() -> Any:
    return load_mitsuba("scalar_rgb", 2)


@pytest.fixture(scope="module")
def view() -> View:
    return list_views([], 1, 1, 0)[0]


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.corrcoef(a.mean(0).ravel(), b.mean(0).ravel())[0, 1])


def test_the_noise_of_realisations_is_independent(mitsuba: Any, view: View) -> None:
    """Of four renders, differences of two pairs share nothing; with a render in common, they do."""
    renderer = Renderer(mitsuba, view, FILM)
    numbers = seeds(view, Samples(realisations=4), FILM)
    renders = [renderer.radiance(2, seed) for seed in numbers]
    exposure = auto_exposure(np.mean(renders, axis=0))
    a, b, c, d = (reinhard(exposure * one) for one in renders)
    bound = 5 / np.sqrt(FILM.width * FILM.height)
    assert abs(correlation(a - c, b - d)) < bound
    assert correlation(a - c, a - d) > 0.3
    # The trap: seeds that differ by 2^32 / pixels are one and the same seed.
    again = renderer.radiance(2, numbers[0] + 2**32 // (FILM.width * FILM.height))
    assert np.array_equal(again, renders[0])


def test_buffers_are_those_of_a_denoiser(mitsuba: Any, view: View) -> None:
    buffers = Renderer(mitsuba, view, FILM).render(2, 5)
    assert {name: len(planes) for name, planes in buffers.items()} == {"color": 3, "albedo": 3, "normal": 3, "depth": 1}
    assert all(np.isfinite(planes).all() for planes in buffers.values())
    assert buffers["color"].min() >= 0
    assert buffers["color"].mean() > 0
    assert 0 <= buffers["albedo"].min() < buffers["albedo"].max() <= 1
    assert -1.01 < buffers["normal"].min() < 0 < buffers["normal"].max() < 1.01
    assert buffers["depth"].max() > 1
    with_light = Renderer(mitsuba, view, FILM).radiance(2, 5)
    assert with_light.mean() == pytest.approx(buffers["color"].mean(), rel=0.5)


def test_a_view_that_light_does_not_reach_is_turned_down(mitsuba: Any, monkeypatch: Any) -> None:
    """A camera behind the wall of a room without windows sees far, and nothing; that is no view."""
    views = list_views([], 20, 1, 0)
    windows = [any(node["type"] == "constant" for node in interior(view.generator("room"))[1]) for view in views]
    renderer = Renderer(mitsuba, views[windows.index(False)], FILM)
    inside = renderer.camera
    outside = Camera(looking(np.array([0.0, 0, 40]), np.zeros(3)), 10.0)
    assert renderer._open(iter([outside, inside]).__next__, least=0.3) is inside
    assert renderer._lit(outside) == 0
    assert renderer._lit(inside) >= LIT
    monkeypatch.setattr(Renderer, "_lit", lambda *_: 1.0)  # without that look at it, the first would do
    assert renderer._open(iter([outside, inside]).__next__, least=0.3) is outside


def test_generated_rooms_are_lit(mitsuba: Any) -> None:
    for view in list_views([], 12, 1, 1):
        renderer = Renderer(mitsuba, view, FILM)
        assert renderer._lit(renderer.camera) >= LIT, view.name


def test_a_killed_frame_goes_on_to_the_same_bytes(mitsuba: Any, view: View, tmp_path: Path, monkeypatch: Any) -> None:
    film, samples = Film(width=16, height=16, max_depth=3), Samples(realisations=2, spp=1, reference_spp=16)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert render_frame(view, samples, film, partial(Renderer, mitsuba), whole, {}) == 3
    render, calls = Renderer.radiance, iter(range(100))

    def dying(self: Renderer, spp: int, seed: int) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return render(self, spp, seed)

    monkeypatch.setattr(Renderer, "radiance", dying)
    with pytest.raises(KeyboardInterrupt):
        render_frame(view, samples, film, partial(Renderer, mitsuba), broken, {})
    assert len(list(broken.glob("*.exr"))) == 2
    assert [path.name for path in broken.glob("*.sums")] == [f"{view.name}_ref_0016spp.sums"]
    next(broken.glob("*.exr")).unlink()
    assert render_frame(view, samples, film, partial(Renderer, mitsuba), broken, {}) == 2
    assert sum(1 for _ in calls) == 100 - 4 - 5  # three chunks were kept, the one that died and four more were made
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert files == {path.name: path.read_bytes() for path in broken.iterdir()}
    next(broken.glob("*_ref_*")).with_suffix(".sums").touch()  # what a kill after the reference's renaming leaves
    assert render_frame(view, samples, film, partial(Renderer, mitsuba), broken, {}) == 0
    assert files == {path.name: path.read_bytes() for path in broken.iterdir()}


def test_a_reference_knows_its_error(mitsuba: Any, view: View, tmp_path: Path) -> None:
    """The standard error in the file is that of the distance to the mean of other samples."""
    film, samples = Film(width=32, height=32, max_depth=3), Samples(realisations=1, spp=1, reference_spp=64)
    render_frame(view, samples, film, partial(Renderer, mitsuba), tmp_path, {})
    (path,) = tmp_path.glob("*_ref_*.exr")
    frame = read_frame(parse(path.read_bytes(), path))
    mean = frame.buffers["color"].astype(np.float64)
    error = np.stack([frame.decoded[0][f"se.{letter}"] for letter in "RGB"]).astype(np.float64)
    other = Renderer(mitsuba, view, film).radiance(64, 1).astype(np.float64)
    lit = error > 0
    ratio = np.median(np.abs(mean - other)[lit] / error[lit])  # of a normal law, 0.674 times the root of two
    assert 0.6 < ratio < 1.4


def test_a_file_for_each_buffer(mitsuba: Any, view: View, tmp_path: Path) -> None:
    """In Open Image Denoise's layout are the pixels of the other; what is missing of it is rendered again."""
    film, samples = Film(width=32, height=32, max_depth=3), Samples(realisations=2, spp=1, reference_spp=16)
    layers, buffers = tmp_path / "layers", tmp_path / "buffers"
    layers.mkdir()
    buffers.mkdir()
    assert render_frame(view, samples, film, partial(Renderer, mitsuba), layers, {}) == 3
    assert render_frame(view, samples, film, partial(Renderer, mitsuba), buffers, {}, "buffers") == 3
    words = [f"{spp}.{word}" for spp in ("00001spp", "0001spp") for word in ("alb", "hdr", "nrm", "z")]
    assert sorted(path.name for path in buffers.iterdir()) == sorted(
        f"{view.name}_{word}.exr" for word in (*words, "0016spp.hdr")
    )
    whole = list_renders([layers]).frames[0]
    apart = list_renders([buffers]).frames[0]
    assert whole.reference is not None
    assert apart.reference is not None
    assert (whole.reference.spp, apart.reference.spp) == (16, 16)
    both = [load_frame(frame) for frame in (whole, apart)]
    assert np.array_equal(both[0].reference, both[1].reference)
    assert both[0].about["seeds"] == both[1].about["seeds"][::-1] == seeds(view, samples, film)[:2]
    assert both[0].buffers.keys() == both[1].buffers.keys() == {"color", "albedo", "normal", "depth"}
    for name, arrays in both[0].buffers.items():
        for array, other in zip(arrays, both[1].buffers[name][::-1], strict=True):
            assert np.array_equal(array, other), name

    before = {path.name: path.read_bytes() for path in buffers.iterdir()}
    (buffers / f"{view.name}_00001spp.hdr.exr").unlink()  # as a kill before the last of a render's files leaves it
    assert render_frame(view, samples, film, partial(Renderer, mitsuba), buffers, {}, "buffers") == 1
    assert before == {path.name: path.read_bytes() for path in buffers.iterdir()}
    with pytest.raises(BadInput, match=r"none by its name(.|\n)*1 samples per pixel"):
        stems(view, Samples(spp=1, reference_spp=1), film, "buffers")


def test_other_filters_are_seen_by_the_audit(mitsuba: Any, view: View) -> None:
    """A box leaves the noise of pixels side by side independent; wider filters do not."""
    found = {}
    for name in get_args(Filter):
        renderer = Renderer(mitsuba, view, replace(FILM, filter=name))
        pair = [reinhard(renderer.radiance(4, seed)) for seed in (1, 2)]
        found[name] = audit_renders(pair).pairs[0]
        assert not found[name].defects(of_renders(AuditConfig())), name  # the two are independent all the same
    assert abs(found["box"].neighbours.value) < 5 * found["box"].neighbours.error
    for name in ("tent", "gaussian"):
        assert found[name].neighbours.value > 0.2
        assert found[name].neighbours.beyond(0.1)


def test_fireflies_are_no_shift(mitsuba: Any, view: View) -> None:
    """The audit of shots takes few samples of light for a camera that moved; that of renders does not."""
    renderer = Renderer(mitsuba, view, FILM)
    radiances = [renderer.exposure() * renderer.radiance(2, seed) for seed in (1, 2, 3)]
    assert not audit_renders(radiances).defects(of_renders(AuditConfig()))
    assert "shifted" in str(audit_scene(radiances).defects(AuditConfig()))
