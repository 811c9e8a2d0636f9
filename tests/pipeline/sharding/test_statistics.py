"""Statistics against numpy's own, and the same however the work was divided."""

import subprocess
from pathlib import Path

import numpy as np

from pipeline import inspect
from pipeline.index import load_index
from pipeline.picture import to_unit
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources


def test_the_statistics_are_those_of_all_pixels(shards: Path) -> None:
    opened = ShardSet(shards)
    pictures = [to_unit(np.array(opened.pixels(sample))).reshape(3, -1) for sample in range(len(opened))]
    values = np.concatenate(pictures, axis=1).astype(np.float64)
    said = opened.index.statistics
    assert np.allclose(said["mean_rgb"], values.mean(1), atol=1e-6)
    assert np.allclose(said["variance_rgb"], values.var(1), atol=1e-6)
    luma = np.tensordot((0.299, 0.587, 0.114), values, 1)
    for p, value in said["luminance_percentiles"].items():
        assert abs(value - np.percentile(luma, float(p))) < 2 / 255
    assert said["measured_pictures"] == len(opened)
    assert said["height"]["min"] == 20
    assert said["picture_bytes"]["sum"] == int(opened.table["size"].sum())
    assert said["channels"] == {"1": 1, "3": 11}
    assert said["pixels"] == values.shape[1]


def test_sixteen_bits_count_by_their_upper_byte() -> None:
    eight = np.random.default_rng(0).integers(0, 256, (3, 20, 20), np.uint8)
    one, other = Levels(), Levels()
    one.add(eight)
    other.add(eight.astype(np.uint16) * 257)
    assert (one.counts == other.counts).all()


def test_without_decoding_some_pictures_are_measured(many: Path, tmp_path: Path) -> None:
    config = ShardConfig(plan=PlanConfig(shard_mb=0.05), storage=StorageConfig(check="header"))
    shard(list_sources([many]), tmp_path / "set", config)
    measured = load_index(tmp_path / "set").statistics["measured_pictures"]
    assert 32 <= measured < 40


def test_inspect_shows_them(shards: Path) -> None:
    text = inspect.describe(shards)
    for words in ("width", "median", "1 of 1, 11 of 3", "of 12 decoded pictures", "luminance", "plan_sha256"):
        assert words in text


def test_dali_indices_give_the_members_places(shards: Path) -> None:
    """By the format's own definition: version and count, then for each sample its members' extension, place, name."""
    for path in sorted(shards.glob("*.idx")):
        head, *lines = path.read_text().splitlines()
        assert head == f"v1.2 {len(lines)}"
        data = path.with_suffix(".tar").read_bytes()
        listed = []
        for line in lines:
            words = line.split(" ")
            for extension, offset, size, name in zip(*[iter(words)] * 4, strict=True):
                start = int(offset)
                assert data[start - 512 : start - 412].rstrip(b"\0").decode() == name
                assert int(data[start - 388 : start - 377], 8) == int(size)
                assert name.endswith("." + extension)
                listed.append(name)
        done = subprocess.run(["tar", "-tf", path.with_suffix(".tar")], capture_output=True, text=True, check=True)
        assert done.stdout.split() == listed
