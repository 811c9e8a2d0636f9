"""Pairs of renders: which realisations meet, whose buffers are shown, and what is linear."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from pipeline.audit import AuditConfig
from pipeline.exr.pixels import encode
from pipeline.order import Order
from pipeline.pairs import PairsConfig
from pipeline.radiance import RendersConfig, reinhard
from pipeline.realisations import RealisationSet
from pipeline.render_pairs import RenderPairDataset
from pipeline.sharding.render_shards import RenderShardConfig, shard_renders

SIDE = 64


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> RealisationSet:
    """One frame of three realisations whose level, 1, 2 or 3, tells them apart; albedo noise is that of the colour."""
    folder = tmp_path_factory.mktemp("renders")
    rng = np.random.default_rng(0)
    for number, name in enumerate("abc"):
        noise = rng.normal(0, 0.1, (3, SIDE, SIDE))
        channels = {letter: (number + 1 + noise[c]).astype(np.float32) for c, letter in enumerate("RGB")}
        channels |= {f"albedo.{letter}": (0.5 + noise[c]).astype(np.float32) for c, letter in enumerate("RGB")}
        (folder / f"room_{name}.exr").write_bytes(encode(channels))
    (folder / "room_ref.exr").write_bytes(encode({letter: np.full((SIDE, SIDE), 9.0, np.float32) for letter in "RGB"}))
    shard_renders([folder], folder / "set", RenderShardConfig(audit=AuditConfig(mode="keep")))
    return RealisationSet(folder / "set")


def dataset(frames: RealisationSet, goal: Any = "one", **pairs: Any) -> RenderPairDataset:
    config = PairsConfig(**{"crop": 16, **pairs})
    renders = RendersConfig(buffers=("albedo",), target=goal)
    return RenderPairDataset(frames, Order(3, frames.samples_per_shard), config, renders, 3)


def levels(batch: Any, exposure: float) -> list[tuple[int, int]]:
    """Which realisation each source and target is."""
    bent = batch.source[:, :3].mean((1, 2, 3)).double() ** 2.2
    source = bent / (1 - bent) / exposure
    target = batch.target.mean((1, 2, 3)).double() / exposure
    return [(round(float(s)), round(float(t))) for s, t in zip(source, target, strict=True)]


def test_all_ordered_pairs_meet_equally_often_and_none_with_itself(frames: RealisationSet) -> None:
    exposure = frames.about(0)["exposure"]
    counts = Counter(levels(dataset(frames).batch(range(1200)), exposure))
    assert counts.keys() == {(s, t) for s in (1, 2, 3) for t in (1, 2, 3) if s != t}
    assert max(abs(count - 200) for count in counts.values()) < 5 * np.sqrt(1200 * (1 / 6) * (5 / 6))


def test_the_target_is_linear_and_exposed_and_the_source_is_bent(frames: RealisationSet) -> None:
    pairs = dataset(frames, flips=False, crop=SIDE)
    source, target = pairs.batch([7])
    exposure = np.float32(frames.about(0)["exposure"])
    first, second = levels(pairs.batch([7]), float(exposure))[0]
    color = [frames.pixels(0, "color", number).astype(np.float32) for number in range(3)]
    assert np.array_equal(target[0].numpy(), color[second - 1] * exposure)
    assert np.array_equal(source[0, :3].numpy(), reinhard(color[first - 1] * exposure))


def test_the_target_is_the_mean_of_all_but_the_source(frames: RealisationSet, monkeypatch: Any) -> None:
    """Weighted by samples per pixel where they are known; of the very sources that single targets have."""
    about = frames.about(0)
    one, others = dataset(frames, crop=SIDE, flips=False), dataset(frames, "others", crop=SIDE, flips=False)
    color = [frames.pixels(0, "color", number).astype(np.float64) for number in range(3)]
    for draw in range(6):
        first, _ = levels(one.batch([draw]), about["exposure"])[0]
        source, target = others.batch([draw])
        assert np.array_equal(source, one.batch([draw]).source)
        left = [number for number in range(3) if number != first - 1]
        mean = np.mean([color[number] for number in left], axis=0) * about["exposure"]
        assert np.allclose(target[0], mean, rtol=1e-6)
        monkeypatch.setattr(frames, "about", lambda sample: {**about, "spp": [8, 8, 32]})
        weights = [[8, 8, 32][number] for number in left]
        mean = np.average([color[number] for number in left], axis=0, weights=weights) * about["exposure"]
        assert np.allclose(others.batch([draw]).target[0], mean, rtol=1e-6)
        monkeypatch.undo()


def test_the_targets_buffers_never_reach_the_source(frames: RealisationSet) -> None:
    pairs = dataset(frames)
    bound = 5 / np.sqrt(64 * 3 * 16 * 16)

    def correlation(one: Any, other: Any) -> float:
        views = [view.numpy() - view.numpy().mean((1, 2, 3), keepdims=True) for view in (one, other)]
        return float(np.corrcoef(views[0].ravel(), views[1].ravel())[0, 1])

    source, target = pairs.batch(range(64))
    assert correlation(source[:, 3:], source[:, :3]) > 0.5  # the albedo's noise is that of its own colour
    assert abs(correlation(source[:, 3:], target)) < bound

    class Leaking(RenderPairDataset):
        """The twin that must be told: the albedo of the target's realisation."""

        def crop(self, sample: int, buffer: str, realisation: int, place: Any) -> Any:
            if buffer == "color":
                self.last = realisation
            return super().crop(sample, buffer, realisation, place)

        def pair(self, sample: int, generator: Any) -> Any:
            state = generator.get_state()
            super().pair(sample, generator)
            target = self.last  # colour is read for the source first, for the target last
            generator.set_state(state)
            source, radiance = super().pair(sample, generator)
            generator.set_state(state)
            from pipeline.geometry import random_place

            source[3:] = super().crop(sample, "albedo", target, random_place(generator))
            return source, radiance

    leaking = Leaking(frames, pairs.order, pairs.config, pairs.renders, 3)
    source, target = leaking.batch(range(64))
    assert correlation(source[:, 3:], target) > 0.9


def test_the_same_draws_in_any_grouping(frames: RealisationSet) -> None:
    pairs = dataset(frames)
    whole, parts = pairs.batch(range(8)), [pairs.batch([draw]) for draw in range(8)]
    for number, part in enumerate(parts):
        assert np.array_equal(whole.source[number], part.source[0])
        assert np.array_equal(whole.target[number], part.target[0])


def test_clean_targets_are_the_reference_on_the_same_sources(frames: RealisationSet) -> None:
    noisy, clean = dataset(frames).batch(range(4)), dataset(frames, target="clean").batch(range(4))
    assert np.array_equal(noisy.source, clean.source)
    assert clean.target.unique().numel() == 1
    assert float(clean.target.max()) == pytest.approx(9 * frames.about(0)["exposure"])


def test_a_set_without_a_buffer_that_is_wanted_is_said(frames: RealisationSet) -> None:
    pairs = dataset(frames)
    wanting = RenderPairDataset(frames, pairs.order, pairs.config, RendersConfig(buffers=("normal",)), 3)
    assert "also normal" in str(wanting[[0]])


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> RealisationSet:
    """A frame whose first realisation is noisy on its left side alone, the second on its right."""
    folder = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(1)
    for number, name in enumerate("ab"):
        pixels = np.full((3, SIDE, SIDE), 1.0 + number)
        pixels[:, :, number * SIDE // 2 : (number + 1) * SIDE // 2] += rng.normal(0, 0.2, (3, SIDE, SIDE // 2))
        channels = {letter: plane.astype(np.float32) for letter, plane in zip("RGB", pixels, strict=True)}
        (folder / f"room_{name}.exr").write_bytes(encode(channels))
    shard_renders([folder], folder / "set", RenderShardConfig(audit=AuditConfig(mode="keep")))
    return RealisationSet(folder / "set")


def test_crops_are_where_the_source_is_noisy(halves: RealisationSet) -> None:
    """By the source's noise and not the target's, in about the share that is asked for, in any grouping."""
    pairs = {}
    for share in (0.0, 0.5, 1.0):
        renders = RendersConfig(importance=share, target="one")
        pairs[share] = RenderPairDataset(
            halves, Order(3, halves.samples_per_shard), PairsConfig(crop=8), renders, seed=3
        )
    draws = range(400)

    def noisy(batch: Any) -> tuple[float, float]:
        """The share of sources, and of targets, that show noise."""
        shown = [(view.std((2, 3)).mean(1) > 1e-3).double().mean() for view in batch]
        return float(shown[0]), float(shown[1])

    whole = {share: one.batch(draws) for share, one in pairs.items()}
    assert noisy(whole[0.0]) == pytest.approx((0.5, 0.5), abs=0.15)
    assert noisy(whole[1.0])[0] > 0.95  # the halves' border is an edge, and counts as noise
    assert noisy(whole[1.0])[1] < 0.3  # at the border of the halves
    assert noisy(whole[0.5])[0] == pytest.approx(0.75, abs=5 * np.sqrt(0.75 * 0.25 / 400))
    for number in (0, 7, 399):
        assert np.array_equal(whole[0.5].source[number], pairs[0.5].batch([number]).source[0])
        assert np.array_equal(whole[0.5].target[number], pairs[0.5].batch([number]).target[0])


def test_an_impossible_share_of_important_crops_is_refused() -> None:
    with pytest.raises(ValueError, match=r"importance is 1\.5"):
        RendersConfig(importance=1.5)
