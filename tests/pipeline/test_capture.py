"""A limited capture budget: noise that sticks to pictures, and which versions of them meet."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Generator

from pipeline.capture import pick_versions
from pipeline.corruption import CorruptionConfig
from pipeline.corruptions.registry import LAWS
from pipeline.order import Order
from pipeline.pairs import MaskedPair, PairDataset, PairsConfig
from pipeline.reader import ShardSet


def dataset(shards: Path, capture: object, name: str = "gaussian", **pairs: object) -> PairDataset:
    opened = ShardSet(shards)
    config = PairsConfig(**{"crop": 16, "flips": False, "capture": capture, **pairs})  # type: ignore[arg-type]
    corruption = CorruptionConfig(name=name)  # type: ignore[arg-type]
    return PairDataset(opened, Order(0, opened.samples_per_shard), config, corruption, 0)


def noises_of_the_smallest(shards: Path, capture: object, name: str) -> tuple[set[bytes], set[bytes]]:
    """Every distinct source and target noise that 40 epochs make of one 20-pixel picture, seen whole."""
    pairs = dataset(shards, capture, name, crop=20)
    sizes = [pairs.shards.pixels(sample).shape[1] for sample in range(12)]
    mine = sizes.index(20)
    draws = [draw for draw in range(480) if pairs.order.samples([draw])[0] == mine]
    batch = pairs.batch(draws)
    return ({view.numpy().tobytes() for view in batch.source}, {view.numpy().tobytes() for view in batch.target})


@pytest.mark.parametrize("name", sorted(LAWS.keys() - {"none"}))
def test_fixed_is_one_pair_for_ever(shards: Path, name: str) -> None:
    sources, targets = noises_of_the_smallest(shards, "fixed", name)
    assert len(sources) == len(targets) == 1
    assert sources != targets


@pytest.mark.parametrize("name", ["gaussian", "bernoulli", "impulse", "text", "mri"])
def test_k_versions_are_all_there_is_and_all_are_used(shards: Path, name: str) -> None:
    """Where sources look as targets do; those of cameras are encoded."""
    sources, targets = noises_of_the_smallest(shards, 3, name)
    assert sources == targets
    assert len(sources) == 3


@pytest.mark.parametrize("name", ["gaussian", "mri"])
def test_fresh_noise_never_returns(shards: Path, name: str) -> None:
    sources, targets = noises_of_the_smallest(shards, "fresh", name)
    assert len(sources | targets) == len(sources) + len(targets) == 80


def test_every_ordered_pair_meets_as_often() -> None:
    g = Generator().manual_seed(0)
    met = Counter(pick_versions(4, g) for _ in range(12_000))
    assert set(met) == {(i, j) for i in range(4) for j in range(4) if i != j}
    assert all(abs(count - 1000) < 5 * 1000**0.5 for count in met.values())


@pytest.mark.parametrize("capture", ["fixed", 3])
@pytest.mark.parametrize("name", ["gaussian", "bernoulli", "camera_text", "impulse"])
def test_captured_pairs_are_a_pure_function_of_seed_and_draw(shards: Path, capture: object, name: str) -> None:
    whole = dataset(shards, capture, name).batch(range(12))
    for draw in (0, 11):
        for one, all_of_it in zip(dataset(shards, capture, name).batch([draw]), whole, strict=True):
            assert torch.equal(one[0], all_of_it[draw])
    assert isinstance(whole, MaskedPair) == (name in ("bernoulli", "camera_text"))


def test_the_mask_is_cropped_with_its_target(shards: Path) -> None:
    noisy, clean = (dataset(shards, 2, "bernoulli", target=target, flips=True).batch(range(12)) for target in
                    ("noisy", "clean"))  # fmt: skip
    assert torch.equal(noisy.source, clean.source)
    assert torch.equal(noisy.target, noisy.weight * clean.target)  # type: ignore[union-attr]


@pytest.mark.parametrize("capture", [0, 1, -3])
def test_a_budget_without_a_pair_is_refused(capture: int) -> None:
    with pytest.raises(ValueError, match=r"pairs\.capture"):
        PairsConfig(capture=capture)
