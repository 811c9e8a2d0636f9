"""A frame's files become arrays; auxiliary buffers stay with the radiance of the same samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.exr.pixels import encode
from pipeline.sharding.frames import load_frame
from pipeline.sharding.realisations import Realisations
from pipeline.sources.renders import list_renders

SHAPE = (40, 56)


def save(path: Path, layers: dict[str, Any], kind: Any = np.float16) -> None:
    """Layers (3, H, W) by name; the empty one is the radiance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {}
    for layer, planes in layers.items():
        letters = "XYZ" if layer == "normal" else "RGB"
        for letter, plane in zip(letters, planes, strict=False):
            channels[f"{layer}.{letter}" if layer else letter] = plane.astype(kind)
    path.write_bytes(encode(channels))


def correlated(rng: np.random.Generator) -> dict[str, Any]:
    """One realisation whose albedo has the noise of its own radiance, as depth of field and textures make it."""
    noise = rng.normal(0, 0.1, (3, *SHAPE))
    return {"": 1 + noise, "albedo": 0.5 + noise, "normal": rng.normal(0, 0.3, (3, *SHAPE))}


def correlation(one: Any, other: Any) -> float:
    return float(np.corrcoef(one.astype(np.float64).ravel(), other.astype(np.float64).ravel())[0, 1])


def load(folder: Path, pattern: str = "") -> Realisations:
    return load_frame(list_renders([folder], pattern).frames[0])


@pytest.mark.parametrize("layout", ["layers", "files"])
def test_auxiliary_buffers_stay_with_their_own_radiance(layout: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        layers = correlated(rng)
        if layout == "layers":
            save(tmp_path / f"room_{name}.exr", layers)
            continue
        for word, layer in (("hdr", ""), ("alb", "albedo"), ("nrm", "normal")):
            save(tmp_path / f"room_{'0' * ord(name)}8spp.{word}.exr", {"": layers[layer]})
    loaded = load(tmp_path)
    assert loaded.count == 3
    bound = 5 / np.sqrt(3 * SHAPE[0] * SHAPE[1])
    for number, albedo in enumerate(loaded.buffers["albedo"]):
        for other, target in enumerate(loaded.buffers["color"]):
            found = correlation(albedo, target)
            if number == other:
                assert found > 0.99
            else:
                assert abs(found) < bound, (number, other)


def test_what_is_said_of_a_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for seed in (3, 12):
        save(tmp_path / f"room_seed{seed}_16spp.exr", correlated(rng))
    save(tmp_path / "room_ref_512spp.exr", {"": np.full((3, *SHAPE), 1.0)}, np.float32)
    loaded = load(tmp_path)
    about = loaded.about
    assert list(loaded.buffers) == ["color", "albedo", "normal"]
    assert about["names"] == ["", ""]
    assert about["seeds"] == [3, 12]
    assert about["spp"] == [16, 16]
    assert about["reference_spp"] == 512
    assert about["exposure"] == pytest.approx(0.18, rel=0.02)
    assert about["types"] == dict.fromkeys(("color", "albedo", "normal", "reference"), "float16")
    assert about["filled_pixels"] == [0, 0, 0]
    assert loaded.reference is not None
    assert loaded.reference.shape == (3, *SHAPE)


def test_types_are_decided_by_buffer(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        layers = correlated(rng)
        layers[""][0, 0, 0] = 70000.0 if name == "b" else 1.0
        layers["albedo"] *= 1e-6  # below the normal range of half
        save(tmp_path / f"room_{name}.exr", layers, np.float32)
    loaded = load(tmp_path)
    assert loaded.about["types"] == {"color": "float32", "albedo": "float32", "normal": "float16"}
    assert loaded.buffers["color"][1].max() == 70000


def test_equal_renders_are_refused(tmp_path: Path) -> None:
    layers = correlated(np.random.default_rng(4))
    save(tmp_path / "room_a.exr", layers)
    save(tmp_path / "room_b.exr", layers)
    with pytest.raises(BadInput, match=r"the same picture(.|\n)*room_a\.exr and room_b\.exr"):
        load(tmp_path)


def test_sizes_must_agree(tmp_path: Path) -> None:
    save(tmp_path / "room_a.exr", {"": np.zeros((3, 8, 8))})
    save(tmp_path / "room_b.exr", {"": np.ones((3, 8, 9))})
    with pytest.raises(BadInput, match=r"different sizes(.|\n)*8 x 8, 9 x 8"):
        load(tmp_path)


def test_pixels_that_are_not_finite_are_filled_and_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for name in ("a", "b"):
        layers = correlated(rng)
        if name == "b":
            layers[""][1, 7, 9] = np.nan
            layers[""][:, 3, 3] = np.inf
        save(tmp_path / f"room_{name}.exr", layers)
    loaded = load(tmp_path)
    assert loaded.about["filled_pixels"] == [0, 2]
    assert all(np.isfinite(array).all() for _, _, array in loaded.members())
    broken = {"": np.full((3, *SHAPE), np.nan)}
    save(tmp_path / "room_b.exr", broken)
    with pytest.raises(BadInput, match=r"NaN or infinity(.|\n)*2,240 of 2,240 pixels"):
        load(tmp_path)


def test_a_buffer_that_not_every_realisation_has_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    save(tmp_path / "room_a.exr", correlated(rng))
    layers = correlated(rng)
    del layers["normal"]
    save(tmp_path / "room_b.exr", layers)
    loaded = load(tmp_path)
    assert loaded.buffers.keys() == {"color", "albedo"}
    assert loaded.about["not_in_every_realisation"] == ["normal"]


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for name in ("a", "b"):
        save(tmp_path / f"room_{name}.exr", correlated(rng))
    path = tmp_path / "room_b.exr"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"damaged OpenEXR file(.|\n)*room_b\.exr"):
        load(tmp_path)
