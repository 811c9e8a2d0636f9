"""Which scene goes into which shard: as plan.py does it for pictures, for whatever a scene is made of."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.index import LeftOut
from pipeline.sharding.plan import PlanConfig, lay_out
from pipeline.sharding.realisations import Realisations


class Scene(Protocol):
    """Something that was recorded several times. Travels to other processes."""

    @property
    def title(self) -> str:
        """Its name in the set."""

    @property
    def size(self) -> int:
        """Bytes of its files: shards are cut by them."""

    @property
    def identity(self) -> str:
        """Names and sizes of all that is stored of it; no folders of this machine."""


S = TypeVar("S", bound=Scene)
Load = Callable[[S], list[Realisations] | LeftOut]
"""A scene's samples (several where it is cut into tiles), or why it has none. A function of a module or a partial
of one, as it travels to other processes."""


@dataclass(frozen=True)
class SceneJob(Generic[S]):
    """Everything that one shard is made of."""

    name: str
    first_key: int
    scenes: list[S]
    load: Load[S]


@dataclass(frozen=True)
class ScenePlan(Generic[S]):
    """Scenes in the set's order, cut into shards. Made by `plan_scenes`."""

    scenes: Sequence[S]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    config: PlanConfig
    load: Load[S]
    said: dict[str, Any]
    """Further options that decide what is stored, for index.json."""
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def shards(self) -> int:
        return len(self.starts) - 1

    def shard_name(self, number: int) -> str:
        return f"shard-{number:06d}.tar"

    def job(self, number: int) -> SceneJob[S]:
        start, end = int(self.starts[number]), int(self.starts[number + 1])
        return SceneJob(self.shard_name(number), start, [self.scenes[p] for p in self.order[start:end]], self.load)

    def options(self) -> dict[str, Any]:
        return {**self.said, **asdict(self.config), "sources": len(self.order), "plan_sha256": self.sha256}

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(json.dumps([self.said, asdict(self.config)], sort_keys=True).encode())
        for scene in self.scenes:
            digest.update(repr((scene.title, scene.size, scene.identity)).encode())
        digest.update(self.order.data)
        digest.update(self.starts.data)
        return digest.hexdigest()


def plan_scenes(
    scenes: Sequence[S], config: PlanConfig, load: Load[S], said: dict[str, Any], left_out: list[LeftOut]
) -> ScenePlan[S]:
    """Shuffle scenes with a key and fill shards to the configured size each. `said` holds plain values."""
    sizes = np.array([scene.size for scene in scenes], np.uint64)
    order, starts = lay_out(sizes, np.arange(len(scenes)), config)
    return ScenePlan(scenes, order, starts, config, load, said, left_out)
