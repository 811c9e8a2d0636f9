"""The compiled core is there where it can be, and its bits are those of numpy, in whatever layout pixels lie."""

import shutil
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline import inject, normals, picture
from pipeline.compiled import core
from pipeline.corruption import CorruptionConfig
from pipeline.inject import Inject
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.reader import ShardSet

Pixels = NDArray[Any]

needs_core = pytest.mark.skipif(not core, reason="the compiled core was not built here")
VIEWS = {
    "whole": np.s_[:, :, :],
    "part": np.s_[:, 5:69, 7:71],
    "rows mirrored": np.s_[:, 68:4:-1, 7:71],
    "columns mirrored": np.s_[:, 5:69, 70:6:-1],
    "both": np.s_[:, ::-1, ::-1],
    "one pixel": np.s_[:, 3:4, 200:201],
    "one column": np.s_[:, :, 9:10],
    "every third": np.s_[:, ::2, ::3],
    "no row": np.s_[:, 4:4, :],
}


def without_core(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (normals, picture, inject):
        monkeypatch.setattr(module, "core", None)


def test_where_there_is_a_compiler_it_is_built() -> None:
    headers = Path(sysconfig.get_paths()["include"], "Python.h")  # which many systems have in a package of their own
    assert core or not (shutil.which("gcc") and headers.exists())


@needs_core
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("by_pixel", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_cut_is_what_numpy_makes_of_it(kind: type, channels: int, by_pixel: bool, view: str) -> None:
    peak = int(np.iinfo(kind).max)
    pixels = np.random.default_rng(0).integers(0, peak + 1, (channels, 200, 211)).astype(kind)
    if by_pixel:
        pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0)).transpose(2, 0, 1)
    part = pixels[VIEWS[view]]
    wide = part.astype(np.uint16) * np.uint16(65535 // peak)
    expected = {"float32": np.divide(part, np.float32(peak), dtype=np.float32), "uint16": wide}
    for name, there in (expected | ({"uint8": part} if kind is np.uint8 else {})).items():
        cut = np.full((3, *part.shape[1:]), 77, name)
        core.cut(cut, part)
        assert np.array_equal(cut, np.broadcast_to(there, cut.shape)), name


@needs_core
@pytest.mark.parametrize(
    ("out", "pixels"),
    [
        (np.zeros((3, 4, 4), np.float32), np.zeros((2, 4, 4), np.uint8)),
        (np.zeros((3, 4, 4), np.float32), np.zeros((3, 4, 5), np.uint8)),
        (np.zeros((3, 4, 4), np.float32), np.zeros((4, 4), np.uint8)),
        (np.zeros((3, 4, 4), np.float32), np.zeros((3, 4, 4), np.float32)),
        (np.zeros((3, 4, 4), np.float64), np.zeros((3, 4, 4), np.uint8)),
        (np.zeros((3, 4, 4), np.uint8), np.zeros((3, 4, 4), np.uint16)),
        (np.zeros((3, 4, 4), np.uint16), np.zeros((3, 4, 4), ">u2")),
        (np.zeros((3, 4, 8), np.float32)[:, :, ::2], np.zeros((3, 4, 4), np.uint8)),
    ],
)
def test_what_cannot_be_cut_is_refused(out: Pixels, pixels: Pixels) -> None:
    before = out.copy()
    with pytest.raises((ValueError, BufferError)):
        core.cut(out, pixels)
    assert np.array_equal(out, before)


@needs_core
@pytest.mark.parametrize("where", ["worker", "device"])
@pytest.mark.parametrize("name", ["gaussian", "brown", "camera"])
def test_pairs_are_the_same_without_it(shards: Path, name: str, where: Inject, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = ShardSet(shards)
    corruption = CorruptionConfig(name=name)  # type: ignore[arg-type]
    made = PairDataset(shown, Order(3, shown.samples_per_shard, 0), PairsConfig(crop=33), corruption, 3, where)
    compiled = made.batch(range(9))
    without_core(monkeypatch)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(compiled, made.batch(range(9)), strict=True))
