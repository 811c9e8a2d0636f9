"""Leaving on request: SIGTERM and SIGUSR1, as schedulers send them before they take a machine back; and Ctrl-C."""

import signal
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from launch.world import World

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Notes a signal on any rank; all ranks learn of it at the same step, so that all save and leave together."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.signal = 0
        self._flag = torch.zeros(1, dtype=torch.int32)
        self._exchange: Any = None
        self._interrupted = False
        for number in SIGNALS:
            signal.signal(number, self._note)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job is deaf to it
            signal.signal(signal.SIGINT, self._interrupt)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number  # a handler may interrupt anything, so it does no more than this

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def agreed(self) -> str:
        """The name of the signal that some rank has got, the same answer on every rank; empty while there is none.

        To be called once a step. The ranks' exchange runs behind the next step, so it costs nothing and
        answers one step late. Raises KeyboardInterrupt where Ctrl-C has come and its exception has been lost: Python
        drops one that happens to be raised while an object is taken apart.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        if self.world.size == 1:
            return signal.Signals(self.signal).name if self.signal else ""
        answer = 0
        if self._exchange is not None:
            self._exchange.wait()
            answer = int(self._flag)
        self._flag.fill_(self.signal)
        self._exchange = dist.all_reduce(self._flag, dist.ReduceOp.MAX, async_op=True)
        return signal.Signals(answer).name if answer else ""
