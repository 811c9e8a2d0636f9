"""`n2n bench train` measures what it says, on real steps and real ranks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.benches.train import PlainLoop, flop_an_image, fresh_state, random_pair
from launch.world import World

ALONE = World(0, 1, torch.device("cpu"))


@pytest.mark.faults
def test_one_short_measurement(run_verb: Any, shards: Path, tmp_path: Path) -> None:
    options = (
        "--crop",
        32,
        "--batch",
        4,
        "--seconds",
        0.05,
        "--repeats",
        1,
        "--processes",
        1,
        2,
        "--data",
        shards,
        "--inject",
        "device",
    )
    done = run_verb("launch.cli", "bench", "train", *options, "--json", "bench.json")
    assert done.returncode == 0, done.stderr
    assert "plain loop" in done.stdout
    (document,) = json.loads((tmp_path / "bench.json").read_text())
    assert [len(rates) for rates in document["images_per_s"].values()] == [1, 1, 1]
    assert min(rate for rates in document["images_per_s"].values() for rate in rates) > 0
    assert min(document["flop_per_s"], document["product_flop_per_s"]) > 0
    assert 0 <= document["data_wait_share"] <= 1
    assert 0.1 < document["memory_gb"] < 100
    assert [row["processes"] for row in document["ranks"]] == [1, 2]
    assert all(0 <= row["exchange_share"] < 1 for row in document["ranks"])
    one, two = document["ranks"]
    assert one["relative"] == 1
    assert two["relative"] == pytest.approx(two["images_per_s"][0] / one["images_per_s"][0])


def test_operations_are_those_of_the_convolutions() -> None:
    """Two a weight and place forward; backward twice that, less the first layer's input, which needs no gradient."""
    options = type("Options", (), {"batch": 2})()
    net = fresh_state("float32", 2, ALONE).net
    forward = 0
    sizes = {"enc_conv0": 32, "enc_conv1": 32, "enc_conv2": 16, "enc_conv3": 8, "enc_conv4": 4, "enc_conv5": 2}
    sizes |= {"enc_conv6": 1} | {
        f"dec_conv{level}{letter}": 2 ** (6 - level) for level in range(1, 6) for letter in "abc"
    }
    for name, layer in net.named_children():
        forward += 2 * layer.weight.numel() * sizes[name] ** 2
    first = 2 * net.enc_conv0.weight.numel() * 32**2
    assert flop_an_image(options, 32, ALONE) == 3 * forward - first


def test_the_plain_loop_learns_the_same_thing() -> None:
    pair = random_pair(4, 32, ALONE)
    plain, ours = PlainLoop(ALONE, 4), fresh_state("float32", 4, ALONE)
    for _ in range(3):
        assert abs(plain.step(pair) - float(ours.step(pair, 1e-4))) < 1e-3
