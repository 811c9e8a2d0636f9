"""Noise on the network's device: the laws that workers draw, from other numbers, whatever batch a draw is in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.corruption import PUBLISHED_TEST, CorruptionConfig, noisy_view, two_views
from pipeline.corruptions.camera import to_linear
from pipeline.corruptions.registry import LAWS
from pipeline.errors import BadInput
from pipeline.geometry import cropped_at
from pipeline.inject import CleanCrops, places, stack, unit
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.order import Order
from pipeline.pairs import AnyPair, PairDataset, PairsConfig
from pipeline.philox import Philox
from pipeline.picture import to_unit
from pipeline.reader import ShardSet

Agree = Callable[[Tensor, float, float], bool]
ON_DEVICE = [name for name, law in LAWS.items() if law.device]


def dataset(shards: Path, name: str, seed: int = 0, **pairs: object) -> PairDataset:
    opened = ShardSet(shards)
    order = Order(seed, opened.samples_per_shard)
    config = CorruptionConfig(name=name)  # type: ignore[arg-type]
    return PairDataset(opened, order, PairsConfig(crop=16, **pairs), config, seed, "device")  # type: ignore[arg-type]


def first(pairs: PairDataset, workers: int, rank: int = 0, world: int = 1) -> AnyPair:
    """The second batch of twelve."""
    loaded = load_pairs(pairs, BatchShare(12, rank, world), LoaderConfig(workers=workers), start=12)
    return next(loaded)[0]


def same(one: AnyPair, other: AnyPair) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_option_reaches_the_pairs_of_a_training(shards: Path) -> None:
    for inject in ("worker", "device"):
        config = LoaderConfig(inject=inject)  # type: ignore[arg-type]
        opened = open_pairs(shards, PairsConfig(crop=16), CorruptionConfig(name="gaussian"), 0, config)
        assert isinstance(opened, PairDataset)
        assert opened.on_device == (inject == "device")


def test_which_laws_leave_the_workers() -> None:
    assert ON_DEVICE == ["gaussian", "brown", "poisson", "camera", "bernoulli", "impulse"]


@pytest.mark.parametrize("name", ON_DEVICE)
def test_no_pair_knows_its_batch_its_rank_or_its_worker(shards: Path, name: str) -> None:
    pairs = dataset(shards, name)
    whole = first(pairs, 2)
    assert same(whole, first(pairs, 0))
    ranks = [first(pairs, 0, rank, 3) for rank in range(3)]
    assert same(whole, type(whole)(*map(torch.cat, zip(*ranks, strict=True))))
    for row in (0, 5, 11):
        assert all(torch.equal(a[0], b[row]) for a, b in zip(pairs.batch([12 + row]), whole, strict=True))
    other = first(dataset(shards, name, seed=1), 0)
    assert all(not torch.equal(a, b) for a, b in zip(whole, other, strict=True)), "the twin: another seed"


@pytest.mark.parametrize("name", sorted(LAWS.keys() - {*ON_DEVICE, "none"}))
def test_other_laws_stay_in_workers_byte_for_byte(shards: Path, name: str) -> None:
    pairs = dataset(shards, name)
    here = PairDataset(pairs.shards, pairs.order, pairs.config, pairs.corruption, 0)
    assert same(pairs.batch(range(4)), here.batch(range(4)))
    assert not isinstance(pairs[range(4)], CleanCrops)


def test_captured_versions_stay_in_workers(shards: Path) -> None:
    assert not isinstance(dataset(shards, "gaussian", capture=3)[range(4)], CleanCrops)


def test_workers_ship_bytes(shards: Path) -> None:
    crops = dataset(shards, "gaussian")[range(4)]
    assert isinstance(crops, CleanCrops)
    assert (crops.pixels.dtype, crops.pixels.shape, crops.draws.tolist()) == (torch.uint8, (4, 3, 16, 16), [0, 1, 2, 3])


def test_clean_targets_are_those_of_the_same_sources(shards: Path) -> None:
    noisy, clean = dataset(shards, "gaussian"), dataset(shards, "gaussian", target="clean")
    draws = range(40)
    assert torch.equal(noisy.batch(draws).source, clean.batch(draws).source)
    assert torch.equal(clean.batch(draws).target, unit(clean.crops(draws).pixels))


def test_damage_is_told(own_shards: Path, flip_bit: Callable[[Path, int], None]) -> None:
    row = ShardSet(own_shards).table[3]
    flip_bit(own_shards / "shard-000000.tar", int(row["offset"]) + int(row["size"]) // 2) if row["shard"] == 0 else None
    pairs = dataset(own_shards, "gaussian")
    if row["shard"] == 0:
        with pytest.raises(BadInput, match="sample 3"):
            first(pairs, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_device_sees_the_numbers_that_workers_make(dtype: type) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, 16, -1)
    assert np.array_equal(unit(torch.from_numpy(levels)).numpy(), np.asarray(to_unit(levels))[:1])


def test_pictures_of_8_and_16_bits_grey_and_colour_share_a_batch() -> None:
    grey, deep = np.arange(4, dtype=np.uint8).reshape(1, 2, 2) * 85, np.full((3, 2, 2), 40_000, np.uint16)
    batch = stack([grey, deep], deep=True)
    assert batch.dtype == torch.uint16
    assert np.array_equal(unit(batch).numpy(), np.stack([to_unit(grey), to_unit(deep)]))
    assert stack([grey, grey], deep=False).dtype == torch.uint8


def test_crops_are_those_of_their_places(shards: Path) -> None:
    """Pixels, place and mirroring as `geometry.cropped_at` has them, whoever mirrors."""
    pairs = dataset(shards, "gaussian")
    crops = pairs.crops(range(64))
    for draw, (pixels, place) in enumerate(zip(crops.pixels.numpy(), places(0, np.arange(64)).tolist(), strict=True)):
        stored = pairs.pixels(int(pairs.order.samples([draw])[0]))
        assert np.array_equal(pixels, np.broadcast_to(cropped_at(stored, 16, True, place), pixels.shape))


def test_crops_are_cut_anywhere_alike(agree: Agree) -> None:
    found = torch.from_numpy(places(0, np.arange(200_000)))
    for column in found.T:
        assert agree(column, 1 / 2, 1 / 12)
    assert agree((found[:, 0] - 0.5) * (found[:, 1] - 0.5), 0, 1 / 144)
    assert agree((found[1:, 0] - 0.5) * (found[:-1, 3] - 0.5), 0, 1 / 144)
    assert not torch.equal(found, torch.from_numpy(places(1, np.arange(200_000))))
    assert np.array_equal(places(0, np.array([7])), found[7:8].numpy())


def fixed(name: str) -> CorruptionConfig:
    """The law at one strength, at which the statistics below can be compared."""
    if name == "brown":  # white: neighbours must be independent to be counted
        return replace(PUBLISHED_TEST[name], bandwidth_px=0.0)
    if name == "bernoulli":  # at 1/2 the variance of a sample has no error of first order
        return replace(PUBLISHED_TEST[name], p=0.3)
    return PUBLISHED_TEST[name]


def variance(name: str, value: float, corruption: CorruptionConfig) -> float:
    """Of one channel of a pixel, from the law's own docstring."""
    s = {option: float(number) for option, number in corruption.numbers.items()}  # type: ignore[arg-type]
    if name in ("gaussian", "brown"):
        return (s["sigma_255"] / 255) ** 2
    if name == "poisson":
        return value / s["photons"]
    if name == "camera":
        return value / s["electrons"] + (s["read_noise_e"] / s["electrons"]) ** 2
    if name == "bernoulli":
        return s["p"] * (1 - s["p"]) * value**2
    return s["p"] / 12 + s["p"] * (1 - s["p"]) * (value - 0.5) ** 2


@pytest.mark.parametrize("name", ON_DEVICE)
def test_the_law_has_the_moments_that_it_promises(name: str, agree: Agree) -> None:
    corruption = fixed(name)
    clean = torch.full((48, 3, 64, 64), 0.3)
    view = noisy_view(clean, corruption, Philox(0, torch.arange(48)))
    value = float(to_linear(clean)[0, 0, 0, 0]) if name == "camera" else 0.3
    mean = {"bernoulli": 0.7 * value, "impulse": 0.3 * value + 0.7 / 2}.get(name, value)
    pixels = view.pixels[:, 0] if name in ("bernoulli", "impulse") else view.pixels  # hit in all channels at once
    expected = variance(name, value, corruption)
    assert agree(pixels, mean, expected)
    assert not agree(pixels * 1.02 + 0.004, mean, expected), "the twin: some per cent off"


@pytest.mark.parametrize("name", ON_DEVICE)
def test_source_and_target_are_independent(name: str, agree: Agree) -> None:
    corruption = fixed(name)
    clean = torch.full((48, 3, 64, 64), 0.3)
    source, target = (view.pixels for view in two_views(clean, corruption, Philox(0, torch.arange(48))))
    a, b = ((view - view.mean())[:, 0] for view in (source, target))
    assert agree(a * b, 0, float(a.var() * b.var()))
    assert not agree(a * a, 0, float(a.var() ** 2)), "the twin: one noise for both"


def test_strengths_are_drawn_over_their_range() -> None:
    clean = torch.zeros(4000, 1, 4, 4)
    sigma = noisy_view(clean, CorruptionConfig(sigma_255=(10.0, 50.0)), Philox(0, torch.arange(4000))).pixels
    each = sigma.square().mean((1, 2, 3)) * 255**2
    assert float(each.mean()) == pytest.approx((50**3 - 10**3) / 3 / 40, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ON_DEVICE)
def test_a_gpu_makes_the_pairs_of_the_cpu(shards: Path, name: str) -> None:
    pairs = dataset(shards, name)
    crops = pairs.crops(range(64))
    there = pairs.noisy(CleanCrops(*(part.cuda() for part in crops)))
    for a, b in zip(pairs.noisy(crops), there, strict=True):
        assert float(((a - b.cpu()).abs() / (1 + a.abs())).max()) < 1e-4
