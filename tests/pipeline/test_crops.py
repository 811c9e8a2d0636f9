"""Several crops a picture: every visit as often as asked, siblings apart, the same for everyone, decoded once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.corruption import CorruptionConfig
from pipeline.crops import LANES, Crops, KeptPictures
from pipeline.errors import BadInput
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.reader import ShardSet


@pytest.mark.parametrize(("per_image", "spread"), [(2, 128), (4, 512), (3, 1024)])
def test_every_visit_has_its_crops_and_siblings_are_far_apart(per_image: int, spread: int) -> None:
    crops = Crops(per_image, spread)
    draws = np.arange(3 * spread * per_image)
    visits = crops.visits(7, draws)
    assert set(Counter(visits.tolist()).values()) == {per_image}
    assert sorted(set(visits.tolist())) == list(range(3 * spread))
    places = np.argsort(visits, kind="stable").reshape(-1, per_image)
    distances = np.diff(places, axis=1)
    assert distances.min() >= crops.nearest
    assert not (distances % LANES).any(), "the same rank and worker may make all crops of a picture"


def test_siblings_would_meet_in_larger_batches() -> None:
    """The twin: the distance told is not merely some lower bound."""
    crops = Crops(4, 512)
    places = np.argsort(crops.visits(7, np.arange(40 * 512 * 4)), kind="stable").reshape(-1, 4)
    assert np.diff(places, axis=1).min() == crops.nearest


def test_other_pictures_are_met_at_every_turn() -> None:
    crops = Crops(4, 1024)
    batches = crops.visits(7, np.arange(4096)).reshape(-1, LANES)
    together = [len(set(batches[16 + b]) & set(other)) for b in range(16) for other in batches[:16]]
    assert max(together) < LANES // 2


def test_visits_are_a_pure_function_of_seed_and_draw() -> None:
    crops, draws = Crops(4, 512), np.arange(5000)
    whole = crops.visits(7, draws)
    assert [int(crops.visits(7, [d])[0]) for d in (0, 700, 4999)] == whole[[0, 700, 4999]].tolist()
    assert (crops.visits(8, draws) != whole).any()
    assert crops.visits(7, [10**13])[0] < 10**13 // 4 + 512


def test_one_crop_is_the_order_as_it_was() -> None:
    assert (
        Order(3, [5, 6]).samples(range(30)).tolist() == Order(3, [5, 6], 0, Crops(1, 128)).samples(range(30)).tolist()
    )


@pytest.mark.parametrize("spread", [0, 64, 100, 192])
def test_a_spread_that_lanes_do_not_divide_is_refused(spread: int) -> None:
    with pytest.raises(ValueError, match="crops_spread"):
        LoaderConfig(crops_spread=spread)


def test_pictures_are_kept_within_bounds_and_let_go_after_their_last_crop() -> None:
    decoded: list[int] = []

    def decode(sample: int) -> np.ndarray:
        decoded.append(sample)
        return np.full(100, sample, np.uint8)

    kept = KeptPictures(crops=2, limit=250)
    assert [int(kept.get(sample, decode)[0]) for sample in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert decoded == [1, 2]
    assert kept.bytes == 0
    for sample in (1, 2, 3):
        kept.get(sample, decode)
    assert kept.bytes == 200
    kept.get(3, decode)
    kept.get(1, decode)
    assert decoded == [1, 2, 1, 2, 3, 1], "the oldest had to go, and was decoded again"


def dataset(shards: Path, per_image: int) -> PairDataset:
    opened = ShardSet(shards)
    order = Order(0, opened.samples_per_shard, 0, Crops(per_image, 128))
    return PairDataset(opened, order, PairsConfig(crop=16), CorruptionConfig(), 0)


def test_a_picture_is_decoded_once_for_its_crops(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[int] = Counter()
    pixels = ShardSet.pixels
    monkeypatch.setattr(ShardSet, "pixels", lambda self, sample: decoded.update([sample]) or pixels(self, sample))
    pairs = dataset(shards, 4)
    for start in range(0, 512, 16):
        pairs.batch(range(start, start + 16))
    assert sum(decoded.values()) <= 512 // 4
    assert set(decoded) == set(range(12))


def test_a_batch_that_would_hold_siblings_is_refused(shards: Path) -> None:
    config = LoaderConfig(workers=0, crops_per_image=2, crops_spread=128)
    with pytest.raises(BadInput, match=r"loader.crops_spread to 384"):
        next(load_pairs(dataset(shards, 2), BatchShare(192, 0, 1), config, start=0))
    next(load_pairs(dataset(shards, 2), BatchShare(128, 0, 1), config, start=0))
