"""The loader: the same bytes for any number of workers and ranks, from any draw on."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.capture import Capture
from pipeline.corruption import CorruptionConfig
from pipeline.corruptions.registry import LAWS
from pipeline.crops import Crops
from pipeline.errors import BadInput
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.order import Order
from pipeline.pairs import AnyPair, PairDataset, PairsConfig
from pipeline.reader import ShardSet
from tests.conftest import ROOT, environment

BATCH, STEPS = 8, 4


def dataset(shards: Path, corruption: str = "gaussian", capture: Capture = "fresh", seed: int = 0) -> PairDataset:
    opened = ShardSet(shards)
    order = Order(seed, opened.samples_per_shard)
    config = CorruptionConfig(name=corruption)  # type: ignore[arg-type]
    return PairDataset(opened, order, PairsConfig(crop=16, capture=capture), config, seed)


def batches(
    pairs: PairDataset | Path, *, workers: int = 0, rank: int = 0, world: int = 1, start: int = 0
) -> list[AnyPair]:
    share, config = BatchShare(BATCH, rank, world), LoaderConfig(workers=workers, prefetch=2)
    loaded = load_pairs(dataset(pairs) if isinstance(pairs, Path) else pairs, share, config, start=start)
    return [batch for batch, _ in itertools.islice(loaded, STEPS)]


def joined(dealt: list[list[AnyPair]]) -> list[AnyPair]:
    """The global batches of what was dealt to the ranks."""
    return [type(step[0])(*map(torch.cat, zip(*step, strict=True))) for step in zip(*dealt, strict=True)]


def equal(one: list[AnyPair], other: list[AnyPair]) -> bool:
    return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_no_byte(shards: Path, workers: int) -> None:
    assert equal(batches(shards, workers=workers), batches(shards))


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_change_no_byte_of_the_global_batch(shards: Path, world: int) -> None:
    dealt = [batches(shards, rank=rank, world=world, workers=rank % 2) for rank in range(world)]
    assert equal(joined(dealt), batches(shards))


@pytest.mark.parametrize(("world", "batch"), [(1, 128), (2, 128), (8, 128), (4, 12), (3, 12)])
def test_several_crops_a_picture_are_the_same_draws_for_any_ranks(shards: Path, world: int, batch: int) -> None:
    """Dealt by lanes, or where those do not divide by the ranks as ever: each draw once, and always the same pair."""
    opened = ShardSet(shards)
    order = Order(0, opened.samples_per_shard, 0, Crops(3, 256))
    pairs = PairDataset(opened, order, PairsConfig(crop=8), CorruptionConfig(), 0)
    config, found = LoaderConfig(workers=0, crops_per_image=3, crops_spread=256), {}
    for rank in range(world):
        lanes = config.crops.lanes(batch)
        draws = BatchShare(batch, rank, world, lanes).draws(3 * batch)
        assert len(draws) == batch // world
        made, _ = next(load_pairs(pairs, BatchShare(batch, rank, world), config, start=3 * batch))
        found |= {draw: made.source[row] for row, draw in enumerate(draws)}
    assert sorted(found) == list(range(3 * batch, 4 * batch))
    whole = pairs.batch(range(3 * batch, 4 * batch))
    assert all(torch.equal(found[3 * batch + row], whole.source[row]) for row in range(batch))


@pytest.mark.parametrize("capture", ["fresh", 3])
@pytest.mark.parametrize("name", LAWS)
def test_no_corruption_knows_ranks_and_workers(shards: Path, name: str, capture: Capture) -> None:
    """One rank with 3 workers, two with 1 and none, four with none: each the bytes of one process, draw by draw."""
    pairs = dataset(shards, name, capture)
    whole = batches(pairs)
    assert equal(batches(pairs, workers=3), whole)
    assert equal(joined([batches(pairs, rank=rank, world=2, workers=rank) for rank in range(2)]), whole)
    assert equal(joined([batches(pairs, rank=rank, world=4) for rank in range(4)]), whole)
    one_by_one = [pairs.batch([draw]) for draw in range(BATCH)]
    assert equal([joined([[pair] for pair in one_by_one])[0]], whole[:1])


@pytest.mark.parametrize("name", LAWS)
def test_the_equality_test_sees_other_noise(shards: Path, name: str) -> None:
    """The twin that must fail: noise keyed by the worker, say, would be that of another seed."""
    pairs, other = dataset(shards, name), dataset(shards, name)
    other.seed = 1
    whole, others = batches(pairs), batches(other)
    assert not equal(whole, others)
    assert all(not torch.equal(a, b) for x, y in zip(whole, others, strict=True) for a, b in zip(x, y, strict=True)), (
        "every part of a pair is drawn"
    )


def test_the_loader_starts_at_any_draw(shards: Path) -> None:
    assert equal(batches(shards, start=2 * BATCH)[:2], batches(shards)[2:])


def test_the_wait_for_data_is_measured(shards: Path) -> None:
    loaded = load_pairs(dataset(shards), BatchShare(BATCH, 0, 1), LoaderConfig(workers=0), start=0)
    waits = [wait for _, wait in itertools.islice(loaded, 3)]
    assert all(wait > 0 for wait in waits)


def test_a_batch_that_the_ranks_do_not_divide_is_refused() -> None:
    with pytest.raises(BadInput, match=r"multiple of 3"):
        BatchShare(16, 0, 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_is_told_by_shard_and_sample(
    own_shards: Path, flip_bit: Callable[[Path, int], None], workers: int
) -> None:
    opened = ShardSet(own_shards)
    row = opened.table[3]
    shard = own_shards / opened.index.shards[int(row["shard"])].name
    flip_bit(shard, int(row["offset"]) + int(row["size"]) // 2)
    loaded = load_pairs(dataset(own_shards), BatchShare(12, 0, 1), LoaderConfig(workers=workers), start=0)
    with pytest.raises(BadInput, match=rf"{shard.name}, sample 3 \("):
        next(loaded)


@pytest.mark.parametrize("option", [{"workers": -1}, {"prefetch": 0}, {"window": -1}, {"crops_per_image": 0}])
def test_impossible_options_are_refused(option: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"loader.{next(iter(option))}"):
        LoaderConfig(**option)


def test_a_loader_that_is_left_ends_with_its_process(shards: Path) -> None:
    """Workers are deaf to signals: a process whose loader is still referred to must not wait for them for ever."""
    code = f"""
import pathlib, sys
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from tests.pipeline.test_loader import dataset
pairs = load_pairs(dataset(pathlib.Path({str(shards)!r})), BatchShare(4, 0, 1), LoaderConfig(workers=2), start=0)
next(pairs)
sys.kept = pairs  # beyond the end of the interpreter's tidying up
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), cwd=ROOT, timeout=60, capture_output=True, text=True, check=True)
    assert not done.stderr
