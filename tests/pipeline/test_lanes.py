"""Lanes: who makes which draws changes, and with it who reads which shards; the global batch never does."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.audit import AuditConfig
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.exr.pixels import encode
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.order import Order
from pipeline.pairs import AnyPair, PairsConfig
from pipeline.radiance import RendersConfig
from pipeline.realisations import RealisationSet
from pipeline.render_pairs import RenderPairDataset
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.render_shards import RenderShardConfig, shard_renders

COUNTS = np.full(640, 2000)  # as many samples as ImageNet has
LANES = 64
WORLDS = (1, 2, 4, 8, 16, 32, 64)


def test_every_rank_opens_its_part_of_the_shards() -> None:
    """In an epoch 1/W of them and the two that it shares with its neighbours; without lanes every rank opens all."""
    shards = {lanes: Order(0, COUNTS, 2, lanes=lanes).samples(range(128 * 10_000)) // 2000 for lanes in (1, LANES)}
    for world in WORLDS:
        for lanes, most in ((1, len(COUNTS)), (LANES, len(COUNTS) / world + 2)):
            opened = []
            for rank in range(world):
                mine = np.array(BatchShare(128, rank, world, lanes).draws(0))
                opened.append(len(np.unique(shards[lanes].reshape(-1, 128)[:, mine])))
            assert max(opened) <= most
            assert lanes > 1 or min(opened) == len(COUNTS)


@pytest.mark.parametrize(("batch", "world"), [(128, 1), (128, 16), (192, 3), (192, 48), (256, 128), (16, 4), (32, 32)])
def test_the_ranks_make_each_draw_once_and_are_neighbours_in_lanes(batch: int, world: int) -> None:
    """Also where they do not divide the lanes, or are more, or where a batch holds only some of the lanes."""
    for start in (0, 5 * batch, 7 * 64 * batch):
        dealt = [list(BatchShare(batch, rank, world, LANES).draws(start)) for rank in range(world)]
        assert all(draws == sorted(draws) for draws in dealt)
        assert sorted(itertools.chain(*dealt)) == list(range(start, start + batch))
        lanes = [[draw % LANES for draw in draws] for draws in dealt]
        assert all(max(one) <= min(next_one) for one, next_one in itertools.pairwise(lanes))
    here = [BatchShare(batch, rank, world, LANES).lanes_here for rank in range(world)]
    assert set(itertools.chain(*here)) == set(range(LANES))
    if not (LANES % world or batch % LANES):
        assert here == [list(range(LANES * rank // world, LANES * (rank + 1) // world)) for rank in range(world)]
    assert max(map(len, here)) <= LANES // world + 2


def test_the_ranks_of_a_machine_read_for_each_other() -> None:
    for machine in (range(0, 4), range(4, 8)):
        shares = [BatchShare(64, rank, 8, 16, machine) for rank in machine]
        assert [share.lanes_here for share in shares] == 4 * [list(range(2 * machine.start, 2 * machine.stop))]
    assert BatchShare(64, 5, 8).lanes_here == [0]


@pytest.mark.parametrize(("batch", "todo"), [(48, "loader.lanes to 16"), (96, "loader.lanes to 32")])
def test_a_batch_that_is_neither_multiple_nor_divisor_is_refused(batch: int, todo: str) -> None:
    with pytest.raises(BadInput, match=todo):
        BatchShare(batch, 0, 1, LANES)


def test_several_crops_ask_for_lanes_that_divide_theirs() -> None:
    LoaderConfig(lanes=32, crops_per_image=2)
    with pytest.raises(ValueError, match=r"loader.lanes is 96; wanted a divisor of 64"):
        LoaderConfig(lanes=96, crops_per_image=2)


def made(of: Path, corruption: str, world: int, workers: int, start: int, **options: int) -> dict[int, AnyPair]:
    """The pair of each draw of three global batches, made by so many ranks."""
    config = LoaderConfig(workers=workers, prefetch=2, **options)
    found: dict[int, AnyPair] = {}
    for rank in range(world):
        pairs = open_pairs(of, PairsConfig(crop=16), CorruptionConfig(name=corruption), 3, config)  # type: ignore[arg-type]
        share = BatchShare(8, rank, world, config.lanes)
        loaded = load_pairs(pairs, share, config, start=start)
        for step, (batch, _) in enumerate(itertools.islice(loaded, 3)):
            for row, draw in enumerate(share.draws(start + 8 * step)):
                found[draw] = type(batch)(*(part[row].clone() for part in batch))
        loaded.close()
    return found


@pytest.mark.parametrize("lanes", [2, pytest.param(4, marks=pytest.mark.faults)])
@pytest.mark.parametrize("crops", [1, 2])
def test_ranks_and_workers_change_no_byte(shards: Path, lanes: int, crops: int) -> None:
    """From anywhere on, over the ends of epochs."""
    for start in (0, 1000):
        options = {"lanes": lanes, "window": 1, "crops_per_image": crops, "crops_spread": 128}
        whole = made(shards, "gaussian", 1, 0, start, **options)
        assert sorted(whole) == list(range(start, start + 24))
        for world, workers in ((1, 1), (1, 3), (2, 0), (2, 2), (4, 1), (8, 0)):
            parts = made(shards, "gaussian", world, workers, start, **options)
            assert sorted(parts) == sorted(whole)
            assert all(torch.equal(a, b) for draw in whole for a, b in zip(whole[draw], parts[draw], strict=True))
    other = made(shards, "gaussian", 1, 0, 1000, **(options | {"lanes": 1}))
    assert not all(torch.equal(other[draw].source, whole[draw].source) for draw in whole), "lanes are another order"


def test_renders_have_lanes_too(tmp_path: Path) -> None:
    for frame in range(4):
        for name in "ab":
            light = np.random.default_rng([frame, ord(name)]).gamma(2, 0.5, (3, 32, 32)).astype(np.float32)
            (tmp_path / f"room{frame}_{name}.exr").write_bytes(encode(dict(zip("RGB", light, strict=True))))
    config = RenderShardConfig(plan=PlanConfig(shard_mb=0.01), audit=AuditConfig(mode="keep"))
    shard_renders([tmp_path], tmp_path / "set", config)
    frames = RealisationSet(tmp_path / "set")
    order = Order(3, frames.samples_per_shard, 1, lanes=4)
    pairs = RenderPairDataset(frames, order, PairsConfig(crop=16), RendersConfig(buffers=()), 3)
    whole = pairs.batch(range(8, 16))
    for rank in range(2):
        share = BatchShare(8, rank, 2, 4)
        loaded = load_pairs(pairs, share, LoaderConfig(workers=rank, lanes=4), start=8)
        batch, _ = next(loaded)
        rows = [draw - 8 for draw in share.draws(8)]
        assert torch.equal(batch.source, whole.source[rows])
        assert torch.equal(batch.target, whole.target[rows])
        loaded.close()


def test_real_shots_have_lanes_too(scenes: Path) -> None:
    whole = made(scenes, "none", 1, 0, 96, lanes=2)
    parts = made(scenes, "none", 2, 1, 96, lanes=2)
    assert all(torch.equal(a, b) for draw in whole for a, b in zip(whole[draw], parts[draw], strict=True))
