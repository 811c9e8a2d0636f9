"""Frames rendered for draws: the same for any process that asks, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import BadInput
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.order import Order
from pipeline.pairs import Pair, PairsConfig
from pipeline.radiance import RendersConfig
from pipeline.render_pairs import RenderPairDataset
from pipeline.rendering.on_demand import RenderedSet
from pipeline.rendering.renderer import Renderer, load_mitsuba
from tests.conftest import environment
from tests.pipeline.test_render import SCENE, alive

pytest.importorskip("mitsuba")

SIDE, FILM = 16, 48


def endless(scenes: str = "rooms", seed: int = 3, spp: int = 1) -> RenderedSet:
    return RenderedSet(scenes, SIDE, FILM, spp, seed)


def dataset(scenes: str = "rooms", seed: int = 3) -> RenderPairDataset:
    frames = endless(scenes, seed)
    renders = RendersConfig(buffers=("albedo", "normal", "depth"))
    return RenderPairDataset(frames, Order(seed, frames.samples_per_shard), PairsConfig(crop=SIDE), renders, seed)


def equal(batch: Pair, whole: Pair, rows: slice) -> bool:
    return torch.equal(batch.source, whole.source[rows]) and torch.equal(batch.target, whole.target[rows])


def test_a_draw_is_the_same_whoever_renders_it() -> None:
    """In any grouping, on any rank, and in workers forked from a process that has rendered, which keeps no renderer."""
    before, pairs = renderers(), dataset()
    whole = pairs.batch(range(4, 8))
    assert whole.source.shape == (4, 10, SIDE, SIDE)
    assert equal(dataset().batch([6]), whole, slice(2, 3))
    assert not torch.equal(dataset(seed=4).batch([6]).target[0], whole.target[2])
    for rank in range(2):
        batches = load_pairs(pairs, BatchShare(4, rank, 2), LoaderConfig(workers=2, prefetch=1), start=4)
        batch, _ = next(batches)
        assert equal(batch, whole, slice(2 * rank, 2 * rank + 2))
        assert not renderers() - before
        batches.close()


def test_a_window_is_that_part_of_the_whole_frame_and_its_noise_its_own() -> None:
    frames = endless(spp=16)
    window = frames.window(5)
    whole = Renderer(load_mitsuba("scalar_rgb", 2), frames.view(5), frames.film).render(16, 1)
    rows, columns = (slice(first, first + SIDE) for first in (window.top, window.left))
    for buffer in ("albedo", "normal"):
        part = whole[buffer][:, rows, columns]
        assert np.abs(frames.pixels(5, buffer) - part).mean() < 0.2 * np.abs(part - part.mean()).mean()
    first, second = (frames.pixels(5, "color", number) for number in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(frames.pixels(5, "color", 0), first)
    assert len({(place.top, place.left) for place in map(frames.window, range(50))}) > 40
    frames.close()


def test_scenes_of_ones_own_and_their_faults(tmp_path: Path) -> None:
    (tmp_path / "ball.xml").write_text(SCENE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/ball.xml").write_text(SCENE.replace('"max_depth" value="3"', '"max_depth" value="4"'))
    frames = endless(str(tmp_path))
    assert frames.view(0).scene == tmp_path / "ball.xml"
    assert not np.array_equal(frames.pixels(0, "depth"), frames.pixels(1, "depth"))  # the camera has moved
    frames.close()
    identities = {endless(name).sha256 for name in ("rooms", str(tmp_path), str(tmp_path / "other/*.xml"))}
    assert len(identities) == 3
    (tmp_path / "other/broken.xml").write_text("<scene version='3.0.0'><shape type='nonsense'/></scene>")
    assert "cannot load" in str(dataset(str(tmp_path / "other/broken.xml"))[[0]])
    for name, what in (("none.xml", "not a scene"), ("", "not a scene")):
        with pytest.raises(BadInput, match=what):
            endless(str(tmp_path / "other" / name) if name else str(tmp_path / "*.obj"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="without scenes"):
        endless(str(tmp_path / "empty"))
    with pytest.raises(BadInput, match="smaller than their crops"):
        RenderedSet("rooms", 64, 32, 1, 0)


def test_a_renderer_that_dies_is_said_and_the_next_frame_has_another() -> None:
    before, frames = renderers(), endless()
    frames.pixels(0, "color")
    (pid,) = renderers() - before
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(BadInput, match="the renderer ended") as error:
        frames.pixels(1, "color")
    assert f"process {pid} was killed by SIGKILL" in str(error.value)
    assert not Path(f"/proc/{pid}").exists()  # and has been waited for
    frames.pixels(1, "color")
    frames.close()
    assert not renderers() - before


def test_no_renderer_outlives_who_asked_even_in_the_midst_of_a_frame() -> None:
    """Killed as the kernel does where memory runs out: nobody is left to end it."""
    begin = "from pipeline.rendering.on_demand import RenderedSet; "
    begin += "RenderedSet('rooms', 64, 64, 1 << 20, 0).pixels(0, 'color')"
    asking = subprocess.Popen([sys.executable, "-c", begin], env=environment())
    try:
        until = time.monotonic() + 60
        while not (found := renderers(asking.pid)):
            assert time.monotonic() < until, "no renderer was begun"
            time.sleep(0.05)
        (renderer,) = (Path(f"/proc/{pid}") for pid in found)
        while cpu_ticks(renderer) < 300:  # loading Mitsuba takes less, and the frame would take hours
            assert time.monotonic() < until, "the renderer does not render"
            time.sleep(0.1)
    finally:
        asking.kill()
        asking.wait()
    until = time.monotonic() + 20
    while alive(renderer):
        assert time.monotonic() < until, "the renderer outlives the process that asked it"
        time.sleep(0.05)


def renderers(parent: int | None = None) -> set[int]:
    """The renderers that a process, by default this one, has begun and not waited for."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            its = int(path.with_name("stat").read_text().rpartition(")")[2].split()[1])
            if its == (parent or os.getpid()) and b"pipeline.rendering.server" in path.read_bytes():
                found.add(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_ticks(process: Path) -> int:
    fields = process.joinpath("stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
