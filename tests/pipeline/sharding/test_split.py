"""Splits: nothing leaks, nothing moves."""

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.index import load_index
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.split import Split
from pipeline.sources.listing import Sources, list_sources
from tests.conftest import stamped

VAL = Split("val", 0.05)


def test_the_share_is_kept() -> None:
    inside = sum(VAL.part(b"n01/%d.jpg" % number) == "val" for number in range(20_000))
    assert abs(inside - 1000) < 5 * math.sqrt(20_000 * 0.05 * 0.95)


def test_a_part_depends_on_the_name_alone() -> None:
    """Golden: a picture in a validation set stays there, in every version and however the set grows."""
    sources = Sources([Path("x")], [""])
    for number in range(60):
        sources.add(0, b"%d.jpg" % number, 1, None)
    parts = VAL.parts(sources, np.arange(60))
    assert parts["val"].tolist() == GOLDEN
    assert sorted([*parts["val"], *parts["train"]]) == list(range(60))


GOLDEN = [0, 8, 27, 58]


def test_what_belongs_together_stays_together() -> None:
    for number in range(200):
        names = [b"scene%d/%s" % (number, name) for name in (b"a.jpg", b"a.png", b"b.jpg")]
        assert VAL.part(names[0]) == VAL.part(names[1])
        assert len({Split("val", 0.05, "folder").part(name) for name in names}) == 1


def test_two_sets_share_no_picture_and_miss_none(many: Path, jpeg: bytes, tmp_path: Path) -> None:
    twins = tmp_path / "twins"
    twins.mkdir()
    for number in range(0, 1000, 10):
        (twins / f"other-name-{number}.jpg").write_bytes(stamped(jpeg, number))
    config = ShardConfig(plan=PlanConfig(shard_mb=0.05), split=Split("val", 0.2))
    shard(list_sources([many, twins]), tmp_path / "set", config)
    pictures = {}
    for part in ("train", "val"):
        opened = ShardSet(tmp_path / "set" / part)
        pictures[part] = {opened.read(sample).data for sample in range(len(opened))}
        assert opened.index.options["split"] == f"{part} of val=0.2 by file"
    assert not pictures["train"] & pictures["val"]
    assert len(pictures["train"]) + len(pictures["val"]) == 1000
    assert 120 < len(pictures["val"]) < 280
    assert len(load_index(tmp_path / "set" / "train").left_out) == 100


@pytest.mark.parametrize("text", ["val", "val=0", "val=1", "val=1.5", "train=0.1", "a/b=0.1", "=0.1", "val=5%"])
def test_impossible_splits_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="impossible split"):
        Split.parse(text, "file")


def test_an_empty_part_is_refused(many: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="none of 1000 pictures in val"):
        shard(list_sources([many]), tmp_path / "set", ShardConfig(split=Split("val", 1e-9)))
