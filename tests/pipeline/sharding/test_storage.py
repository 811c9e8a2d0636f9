"""Storages: the same training from either, and every option does what it says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.index import load_index
from pipeline.order import Order
from pipeline.pairs import Pair, PairDataset, PairsConfig
from pipeline.picture import decode
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.header import Header
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.storage import StorageConfig, as_npy, cut, fit, from_npy, scale_down, to_grey
from pipeline.sources.listing import list_sources
from pipeline.verify import verify


def make(out: Path, source: Path | str, **storage: object) -> ShardSet:
    config = StorageConfig(**storage)  # type: ignore[arg-type]
    shard(list_sources([source]), out, ShardConfig(plan=PlanConfig(shard_mb=0.015), storage=config))
    return ShardSet(out)


def pairs(shards: ShardSet, crop: int = 24) -> Pair:
    order = Order(0, shards.samples_per_shard)
    return PairDataset(shards, order, PairsConfig(crop=crop), CorruptionConfig(), 0).batch(range(40))


@pytest.mark.parametrize("crop", [24, 60])  # 60: larger than some pictures
def test_both_storages_train_identically(pictures: Path, tmp_path: Path, crop: int) -> None:
    source, pixels = (pairs(make(tmp_path / store, pictures, store=store), crop) for store in ("source", "pixels"))
    assert torch.equal(source.source, pixels.source)
    assert torch.equal(source.target, pixels.target)


def test_the_storages_test_sees_a_single_level(pictures: Path, tmp_path: Path) -> None:
    """The twin that must fail."""
    changed = Path(shutil.copytree(pictures, tmp_path / "changed"))
    for path in changed.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) ^ 1).save(path)
    source, pixels = pairs(make(tmp_path / "a", pictures)), pairs(make(tmp_path / "b", changed, store="pixels"))
    assert not torch.equal(source.source, pixels.source)


def test_a_crop_of_stored_pixels_touches_its_own_rows_alone(tmp_path: Path) -> None:
    large = np.random.default_rng(0).integers(0, 256, (3000, 2000, 3), np.uint8)
    Image.fromarray(large).save(tmp_path / "large.bmp")
    pixels = make(tmp_path / "set", tmp_path / "large.bmp", store="pixels").pixels(0)
    assert not pixels.flags.owndata
    assert not pixels.flags.writeable
    assert (pixels[:, 100:164, 200:264] == large.transpose(2, 0, 1)[:, 100:164, 200:264]).all()


def test_a_set_sharded_again_is_the_set_sharded_so_at_first(pictures: Path, tmp_path: Path) -> None:
    """Both ways, with one seed: pictures and what is said of them survive, and duplicates do not appear."""
    source = make(tmp_path / "source", pictures)
    again = make(tmp_path / "again", f"{tmp_path}/source/*.tar", store="pixels")
    assert len(again) == len(source) == 12
    kept = {source.pixels(sample).tobytes() for sample in range(12)}
    assert {again.pixels(sample).tobytes() for sample in range(12)} == kept
    third = make(tmp_path / "third", f"{tmp_path}/again/*.tar")
    assert {third.pixels(sample).tobytes() for sample in range(12)} == kept
    assert b'"source": "class1/picture1.jpg"' in b"".join(p.read_bytes() for p in (tmp_path / "third").glob("*.tar"))


@pytest.mark.parametrize("store", ["source", "pixels"])
def test_large_pictures_are_scaled_and_small_ones_kept(pictures: Path, tmp_path: Path, store: str) -> None:
    shards = make(tmp_path / "set", pictures, store=store, max_side=64)
    assert max(shards.table["height"].max(), shards.table["width"].max()) == 64
    assert shards.table["height"].min() == 20
    assert load_index(tmp_path / "set").options["max_side"] == 64
    if store == "source":
        assert 0 < int(shards.table["decoded"].sum()) < len(shards)


def test_tiles_are_samples_of_their_own_that_make_up_the_picture(pictures: Path, tmp_path: Path) -> None:
    shards = make(tmp_path / "set", pictures, tile=32)
    assert shards.table["height"].max() <= 32
    assert int((shards.table["height"].astype(int) * shards.table["width"]).sum()) == sum(
        decode(file.path.read_bytes(), "").pixels[0].size for file in list_sources([pictures])
    )
    assert verify(tmp_path / "set") == []


def test_grey_is_one_channel_everywhere(pictures: Path, tmp_path: Path) -> None:
    shards = make(tmp_path / "set", pictures, grey=True)
    assert set(shards.table["channels"].tolist()) == {1}
    assert all(shards.pixels(sample).shape[0] == 1 for sample in range(len(shards)))


def test_cuts_are_nearly_equal_and_whole() -> None:
    picture = np.arange(3 * 100 * 33).reshape(3, 100, 33)
    tiles = list(cut(picture, 30))
    assert {tile.pixels.shape[1] for tile in tiles} == {25}
    assert {tile.pixels.shape[2] for tile in tiles} == {16, 17}
    for tile in tiles:
        _, height, width = tile.pixels.shape
        assert (picture[:, tile.top : tile.top + height, tile.left : tile.left + width] == tile.pixels).all()
    assert sum(tile.pixels.size for tile in tiles) == picture.size


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_scaling_averages_areas(kind: type) -> None:
    picture = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (3, 64, 96), kind)
    half = scale_down(picture, 48)
    means = picture.reshape(3, 32, 2, 48, 2).mean((2, 4))
    assert half.dtype == kind
    assert (half == np.floor(means + 0.5)).all()
    odd = scale_down(picture, 60)
    assert odd.shape == (3, 40, 60)
    assert abs(float(odd.mean()) / float(picture.mean()) - 1) < 0.01


def test_grey_is_that_of_bt_601_in_any_depth() -> None:
    colours = np.array([[[255, 0, 0, 255]], [[0, 255, 0, 255]], [[0, 0, 255, 255]]], np.uint8)
    assert to_grey(colours).tolist() == [[[76, 150, 29, 255]]]
    assert to_grey(colours.astype(np.uint16) * 257)[0, 0, 3] == 65535


def test_an_untouched_picture_stays_what_it_is() -> None:
    picture = np.zeros((3, 10, 20), np.uint8)
    (tile,) = fit(picture, StorageConfig(max_side=20, tile=20))
    assert tile.pixels is picture or tile.pixels.base is picture
    assert not StorageConfig(max_side=20, tile=20).changes(Header(10, 20, 3, 8))


@pytest.mark.parametrize("array", [np.zeros((3, 4), np.uint8), np.zeros((2, 4, 4), np.uint8), np.zeros((3, 4, 4))])
def test_arrays_that_are_no_pictures_are_refused(array: np.ndarray) -> None:
    with pytest.raises(BadInput, match="not a picture"):
        from_npy(as_npy(array), "x")
    with pytest.raises(BadInput, match="not readable"):
        from_npy(b"text", "x")


@pytest.mark.parametrize("option", ["max_side", "tile"])
def test_impossible_options_are_refused(option: str) -> None:
    with pytest.raises(BadInput, match="too small"):
        StorageConfig(**{option: 3})  # type: ignore[arg-type]
