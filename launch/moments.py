"""What is due after a step, by images or by minutes, and whether to leave: the same answer on every rank."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from launch.schedule import Rhythm
from launch.stopping import StopRequest, name_of
from launch.world import World


@dataclass(frozen=True)
class Moment:
    """What follows a step."""

    done: bool
    """The run has reached its length."""
    stopped: str
    """The signal that some rank has got, by name; empty for none."""
    due: frozenset[str]
    """Of what was asked for by name, that whose time has come."""

    @property
    def saves(self) -> bool:
        return self.done or bool(self.stopped) or "checkpoint" in self.due

    @property
    def logs(self) -> bool:
        return self.done or "log" in self.due

    @property
    def validates(self) -> bool:
        return self.done or "validate" in self.due


class Moments:
    """Asks the images, which every rank knows, and what only one may know: rank 0's clock, and any rank's signals."""

    def __init__(self, world: World, stop: StopRequest, batch: int, total: int, **rhythms: Rhythm) -> None:
        self.world = world
        self.stop = stop
        self.batch = batch
        self.total = total
        self.rhythms = rhythms
        self.told = torch.zeros(1 + len(rhythms), dtype=torch.int32)
        self.exchange: Any = None

    def after(self, images: int) -> Moment:
        """To be called once a step. Raises KeyboardInterrupt where Ctrl-C has come and its exception has been lost."""
        passed = [self.world.first and rhythm.minutes_passed() for rhythm in self.rhythms.values()]
        signal, *clocks = self._agreed([self.stop.asked(), *map(int, passed)])
        named = zip(self.rhythms.items(), clocks, strict=True)
        due = frozenset(name for (name, each), clock in named if clock or each.images_passed(images, self.batch))
        for name in due:  # what images have brought about need not come again by the clock soon after
            self.rhythms[name].restart()
        return Moment(images >= self.total, name_of(signal), due)

    def _agreed(self, mine: list[int]) -> list[int]:
        """The largest of each over all ranks; of the step before, as the exchange runs behind a step and costs none."""
        if self.world.size == 1:
            return mine
        answer = [0] * len(mine)
        if self.exchange is not None:
            self.exchange.wait()
            answer = self.told.tolist()
        self.told.copy_(torch.tensor(mine, dtype=torch.int32))
        self.exchange = dist.all_reduce(self.told, dist.ReduceOp.MAX, async_op=True)
        return answer
