"""A generated shard set to measure on, where none is named."""

from pathlib import Path

from pipeline import dead_leaves
from pipeline.shard import ShardConfig, shard
from pipeline.sources.listing import list_sources


def generate(folder: Path) -> Path:
    dead_leaves.main(["--out", str(folder / "pictures"), "--count", "48"])
    shard(list_sources([folder / "pictures"]), folder / "shards", ShardConfig(max_bad=0))
    return folder / "shards"
