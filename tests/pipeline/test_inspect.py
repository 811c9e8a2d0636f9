"""What inspect says of a set, and the pair it draws."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.corruption import CorruptionConfig
from pipeline.inspect import describe, open_dataset
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.picture import from_unit
from pipeline.reader import ShardSet


def test_a_set_is_described(run_verb: Any, shards: Path) -> None:
    done = run_verb("pipeline.inspect", shards, "--verify")
    assert done.returncode == 0, done.stderr
    assert "12 samples" in done.stdout
    assert re.search(r"width +20 .* 92$", done.stdout, re.M), done.stdout
    assert "every checksum is right" in done.stdout
    assert describe(shards) in done.stdout


def test_a_draw_is_the_pair_that_training_sees(run_verb: Any, shards: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("seed: 3\npairs: {crop: 24}\ncorruption: {sigma_255: 1e1}\noptim: {lr: 1e-4}\ndata: {train: x}\n")
    done = run_verb("pipeline.inspect", shards, "--draw", 17, "--config", config, "--out", "pair.png")
    assert done.returncode == 0, done.stderr
    opened = ShardSet(shards)
    order = Order(3, opened.samples_per_shard)
    pairs = PairDataset(opened, order, PairsConfig(crop=24), CorruptionConfig(sigma_255=10.0), seed=3)
    source = from_unit(pairs.batch([17]).source[0].numpy(), 8).transpose(1, 2, 0)
    with Image.open(tmp_path / "pair.png") as image:
        drawn = np.asarray(image)
    assert (drawn[8 : 8 + 24, 8 : 8 + 24] == source).all()


def test_a_run_s_own_configuration_is_read(trained: Path, shards: Path) -> None:
    dataset = open_dataset(shards, trained / "config.yaml")
    assert dataset.config.crop == 32
