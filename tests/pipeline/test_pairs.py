"""Pairs: the contract of (seed, draw), and the independence of the two views."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.corruption import CorruptionConfig
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.reader import ShardSet


def dataset(shards: Path, seed: int = 0, **pairs: object) -> PairDataset:
    opened = ShardSet(shards)
    config = PairsConfig(**{"crop": 16, **pairs})  # type: ignore[arg-type]
    return PairDataset(opened, Order(seed, opened.samples_per_shard), config, CorruptionConfig(sigma_255=25), seed)


def noises(shards: Path, draws: range) -> tuple[Tensor, Tensor]:
    noisy, clean = dataset(shards).batch(draws), dataset(shards, target="clean").batch(draws)
    return noisy.source - clean.target, noisy.target - clean.target


def correlates(a: Tensor, b: Tensor) -> bool:
    """Whether two noises are correlated beyond five standard errors."""
    r = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
    return bool(abs(r) > 5 / math.sqrt(a.numel()))


def test_source_and_target_noise_are_independent(shards: Path) -> None:
    source, target = noises(shards, range(400))
    assert not correlates(source, target)
    assert not correlates(source.square(), target.square())


def test_the_independence_test_sees_a_shared_tenth(shards: Path) -> None:
    """The twin that must fail: a tenth of the source's noise leaking into the target."""
    source, target = noises(shards, range(400))
    assert correlates(source, target + 0.1 * source)


def test_noise_of_neighbouring_draws_is_independent(shards: Path) -> None:
    source, target = noises(shards, range(400))
    assert not correlates(source[:-1], source[1:])
    assert not correlates(target[:-1], source[1:])


def test_noise_has_its_moments_in_pairs(shards: Path) -> None:
    for noise in noises(shards, range(400)):
        n = noise.numel()
        assert abs(float(noise.mean())) < 5 * 25 / 255 / math.sqrt(n)
        assert abs(float(noise.var()) / (25 / 255) ** 2 - 1) < 5 * math.sqrt(2 / n)


def test_a_pair_is_a_pure_function_of_seed_and_draw(shards: Path) -> None:
    whole = dataset(shards).batch(range(20))
    for draw in (0, 7, 19):
        (source,), (target,) = dataset(shards).batch([draw])
        assert torch.equal(source, whole.source[draw])
        assert torch.equal(target, whole.target[draw])
    other = dataset(shards, seed=1).batch(range(20))
    assert not torch.equal(other.source, whole.source)


def test_clean_targets_keep_the_sources(shards: Path) -> None:
    """The supervised baseline differs in its targets alone."""
    noisy, clean = dataset(shards).batch(range(12)), dataset(shards, target="clean").batch(range(12))
    assert torch.equal(noisy.source, clean.source)
    assert not torch.equal(noisy.target, clean.target)
    assert clean.target.min() >= 0
    assert clean.target.max() <= 1


def test_noisy_views_are_not_clipped(shards: Path) -> None:
    pair = dataset(shards).batch(range(40))
    assert all(view.min() < 0 and view.max() > 1 for view in pair)


def test_pictures_smaller_than_the_crop_train_too(shards: Path) -> None:
    batch = dataset(shards, crop=100).batch(range(12))
    assert batch.source.shape == (12, 3, 100, 100)
    assert torch.isfinite(batch.source).all()


def test_an_impossible_crop_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pairs\.crop"):
        PairsConfig(crop=0)
