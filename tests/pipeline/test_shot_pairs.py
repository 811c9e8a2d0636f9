"""Pairs of real shots: the contract of (seed, draw), every ordered pair in turn, and the scale of values."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.order import Order
from pipeline.pairs import PairsConfig
from pipeline.realisations import RealisationSet
from pipeline.shot_pairs import ShotPairs
from tests.conftest import make_scenes


def dataset(folder: Path, seed: int = 0, **pairs: object) -> ShotPairs:
    opened = RealisationSet(folder)
    config = PairsConfig(**{"crop": 16, **pairs})  # type: ignore[arg-type]
    return ShotPairs(opened, Order(seed, opened.samples_per_shard), config, seed)


def test_every_ordered_pair_of_every_scene_in_turn(scenes: Path) -> None:
    """After K (K - 1) epochs each has been there once, whatever K is."""
    made = dataset(scenes)
    seen: dict[int, list[tuple[int, int]]] = {}
    for draw in range(12 * made.order.total):
        sample = int(made.order.samples([draw])[0])
        seen.setdefault(sample, []).append(made.shots(draw, sample))
    assert len({len(pairs) for pairs in seen.values()}) == 1
    for sample, pairs in seen.items():
        count = made.shards.realisations(sample)
        every = {(i, j) for i in range(count) for j in range(count) if i != j}
        turn = len(every)
        assert set(pairs[:turn]) == set(pairs[turn : 2 * turn] or pairs[:turn]) == every
    assert {made.shards.realisations(sample) for sample in seen} == {2, 3, 4}


def test_source_and_target_are_the_same_place_of_two_shots(tmp_path: Path) -> None:
    """Shots that differ by a constant: their crops do too, mirrored or not."""
    base = np.random.default_rng(0).integers(0, 200, (3, 40, 50))
    folder = make_scenes(tmp_path, [[(base + 10 * shot).astype("u1") for shot in range(3)]], mode="keep")
    made = dataset(folder)
    for draw in range(12):
        pair = made.batch([draw])
        first, second = made.shots(draw, 0)
        assert torch.allclose((pair.target - pair.source) * 255, torch.tensor(10.0 * (second - first)), atol=1e-4)


def test_a_pair_is_a_pure_function_of_seed_and_draw(scenes: Path) -> None:
    whole = dataset(scenes).batch(range(20))
    for draw in (0, 7, 19):
        (source,), (target,) = dataset(scenes).batch([draw])
        assert torch.equal(source, whole.source[draw])
        assert torch.equal(target, whole.target[draw])
    assert not torch.equal(dataset(scenes, seed=1).batch(range(20)).source, whole.source)


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (2, 0), (2, 2)])
def test_any_number_of_ranks_and_workers_sees_the_same(scenes: Path, ranks: int, workers: int) -> None:
    whole = dataset(scenes).batch(range(16))
    config = LoaderConfig(workers=workers)
    loaders = [load_pairs(dataset(scenes), BatchShare(8, rank, ranks), config, start=0) for rank in range(ranks)]
    got = [next(loader)[0].source for _ in range(2) for loader in loaders]
    assert torch.equal(torch.cat(got), whole.source)


@pytest.mark.parametrize(("dtype", "white"), [("u1", 255.0), ("u2", 65535.0), ("f4", 1.0), ("f2", 1.0)])
def test_values_are_scaled_by_their_type(tmp_path: Path, dtype: str, white: float) -> None:
    random = np.random.default_rng(0)
    shots = [(random.random((1, 20, 20)) * white).astype(dtype) for _ in range(2)]
    pair = dataset(make_scenes(tmp_path, [shots]), crop=20, flips=False).batch([0])
    assert pair.source.shape == (1, 1, 20, 20)
    wanted = [torch.from_numpy(shot.astype("f4") / np.float32(white)) for shot in shots]
    assert any(torch.equal(pair.source[0], shot) for shot in wanted)


def test_white_may_be_given(tmp_path: Path) -> None:
    shots = [np.full((1, 20, 20), 1000 + shot, "u2") for shot in range(2)]
    pair = dataset(make_scenes(tmp_path, [shots], mode="keep", white=4000.0)).batch([0])
    assert pair.source.mean() == pytest.approx(0.25, abs=0.001)


def test_grey_among_colour_is_repeated(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scenes = [[(random.random((c, 20, 20)) * 255).astype("u1") for _ in range(2)] for c in (1, 3)]
    assert dataset(make_scenes(tmp_path, scenes)).batch(range(4)).source.shape == (4, 3, 16, 16)


def test_clean_targets_are_the_reference_of_the_same_sources(scenes: Path, referenced: Path) -> None:
    noisy, clean = (dataset(referenced, target=target).batch(range(6)) for target in ("noisy", "clean"))
    assert torch.equal(noisy.source, clean.source)
    assert float((clean.source - clean.target).square().mean()) < float((noisy.source - noisy.target).square().mean())
    with pytest.raises(BadInput, match="a reference"):
        dataset(scenes, target="clean")


def test_a_capture_budget_keeps_to_the_first_shots(scenes: Path) -> None:
    fixed, two = dataset(scenes, capture="fixed"), dataset(scenes, capture=2)
    assert {fixed.shots(draw, 0) for draw in range(40)} == {(0, 1)}
    assert {two.shots(draw, 0) for draw in range(40)} == {(0, 1), (1, 0)}


def test_noise_over_real_noise_and_no_noise_at_all_are_refused(scenes: Path, shards: Path) -> None:
    with pytest.raises(BadInput, match="noise over real noise"):
        open_pairs(scenes, PairsConfig(), CorruptionConfig(), 0, LoaderConfig())
    with pytest.raises(BadInput, match="nothing to learn"):
        open_pairs(shards, PairsConfig(), CorruptionConfig(name="none"), 0, LoaderConfig())
