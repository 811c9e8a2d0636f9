"""Renders -> shards: frames grouped by their files' names, each a sample of K realisations."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pipeline.audit import AuditConfig
from pipeline.errors import BadInput
from pipeline.exr.buffers import Patterns
from pipeline.index import Index, LeftOut
from pipeline.remote.place import Place
from pipeline.sharding.assemble import Kind, MakeConfig, make_set
from pipeline.sharding.frames import load_frame
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.realisations import Realisations
from pipeline.sharding.render_audit import independent
from pipeline.sharding.scene_plan import plan_scenes
from pipeline.sharding.scene_writer import gather_scenes, write_scenes
from pipeline.sharding.split import REST, Split
from pipeline.sources.renders import RenderFrame, list_renders

VIEW = re.compile(r"-view\d+$")  # of `n2n render`: one scene from several places


@dataclass(frozen=True, kw_only=True)
class RenderShardConfig(MakeConfig):
    """How a set of renders is made."""

    plan: PlanConfig = field(default_factory=PlanConfig)
    tile: int = 0
    """Larger frames are cut into equal parts of at most this side; 0: none are."""
    pattern: str = ""
    """Of the files' names, where they follow none that is known: see pipeline/sources/renders.py."""
    channels: Patterns = field(default_factory=lambda: Patterns({}))
    audit: AuditConfig = field(default_factory=AuditConfig)
    split: Split | None = None


def shard_renders(folders: Sequence[Path], out: Place, config: RenderShardConfig) -> dict[str, Index | None]:
    """Turn the EXR files below some folders into a set of realisations, or into one per part of the split.

    The frames of a sequence and the views of a scene are in one part. None is where this was one part of several;
    raises BadInput where no frame has two realisations, or as `make_set` does.
    """
    renders = list_renders(folders, config.pattern)
    said = {"kind": "renders", "tile": config.tile, "channels": dict(config.channels.given), "audit": config.audit.mode}
    load = partial(load_scene, config=config)
    parts = {"": renders.frames}
    if config.split is not None:
        parts = config.split.deal(renders.frames, lambda frame: VIEW.sub("", frame.name))
    indices = {}
    for part, frames in parts.items():
        described = replace(config.plan, split=config.split.describe(part) if config.split else "")
        left_out = renders.left_out if part in ("", REST) else []
        plan = plan_scenes(frames, described, load, said, left_out)
        indices[part] = make_set(plan, Kind(write_scenes, gather_scenes), out / part, config)
    return indices


def load_scene(frame: RenderFrame, config: RenderShardConfig) -> list[Realisations] | LeftOut:
    """A frame's samples, or why it has none. Raises BadInput where the audit is to refuse a set."""
    try:
        loaded = load_frame(frame, config.channels)
    except BadInput as error:
        what, where, got, wanted, _ = error.args
        return LeftOut(frame.title, "unreadable", f"{what}: {where}: {got}" + (f", wanted {wanted}" if wanted else ""))
    good = independent(loaded, config.audit)
    return LeftOut(frame.title, "audit", good) if isinstance(good, str) else good.cut(config.tile)
