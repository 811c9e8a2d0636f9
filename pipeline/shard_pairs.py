"""Real noisy shots -> a set of realisations; the part of the verb `shard` that is for scenes."""

import json
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from pipeline.index import Index
from pipeline.remote.place import Place
from pipeline.sharding.assemble import Kind, MakeConfig, make_set
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.scene_plan import plan_scenes
from pipeline.sharding.scene_writer import gather_scenes, write_scenes
from pipeline.sharding.shot_scenes import ShotsConfig, load_scene
from pipeline.sharding.split import REST, Split
from pipeline.sources.shots import Listing, ScenesConfig, ShotScene


@dataclass(frozen=True, kw_only=True)
class ShardPairsConfig(MakeConfig):
    """How a set of scenes is made."""

    scenes: ScenesConfig
    shots: ShotsConfig = field(default_factory=ShotsConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    split: Split | None = None


def shard_pairs(listing: Listing, out: Place, config: ShardPairsConfig) -> dict[str, Index | None]:
    """Turn scenes into a set in `out`, or into one per part of the split; no scene is in two parts.

    Goes on where a stopped run of the same command was. Raises BadInput as `shard` does.
    """
    parts = {"": listing.scenes}
    if config.split is not None:
        parts = config.split.deal(listing.scenes, lambda scene: scene.title)
    return {part: shard_part(part, scenes, listing, out / part, config) for part, scenes in parts.items()}


def shard_part(
    part: str, scenes: list[ShotScene], listing: Listing, out: Place, config: ShardPairsConfig
) -> Index | None:
    plan_config = replace(config.plan, split=config.split.describe(part) if config.split else "")
    left_out = listing.left_out if part in ("", REST) else []
    plan = plan_scenes(scenes, plan_config, partial(load_scene, config=config.shots), described(config), left_out)
    return make_set(plan, Kind(write_scenes, gather_scenes), out, config)


def described(config: ShardPairsConfig) -> dict[str, Any]:
    """The options that decide what is stored, as plain values."""
    options = {"kind": "pairs", **asdict(config.scenes), **asdict(config.shots)}
    plain: dict[str, Any] = json.loads(json.dumps(options))
    return plain
