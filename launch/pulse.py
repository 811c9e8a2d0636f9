"""Which rank is stuck: each notes what it is doing, and one that has waited in vain reads the notes of all."""

import json
import os
import platform
import threading
import time
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

BEAT_S = 1.0
KEY = "n2n/pulse/"  # in the ranks' store, with the rank behind it
STEP = "in a step"  # where ranks wait for each other


@dataclass
class Pulse:
    """What this rank is doing, beaten into the store by a thread of its own; nothing for a world of one."""

    rank: int
    size: int
    doing: str = "starting"
    images: int = 0

    def start(self) -> None:
        if self.size > 1:
            threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def at(self, doing: str, images: int) -> None:
        self.doing, self.images = doing, images

    def _beat(self) -> None:
        store = own_store()
        beats = 0
        while True:
            beats += 1
            who = f"process {os.getpid()} on {platform.node()}"
            try:
                store.set(f"{KEY}{self.rank}", json.dumps([beats, self.doing, self.images, who]))
            except RuntimeError:  # the store has gone with its host, and soon so does this rank
                return
            time.sleep(BEAT_S)


def own_store() -> Any:
    """Another connection to the ranks' store, so that a call that waits there holds up no other."""
    return dist.distributed_c10d._get_default_store().clone()


def told_stuck(size: int) -> str:
    """What is known of every rank, the stuck ones first: those that beat no more, or are elsewhere than in a step.

    Never waits long: a store that does not answer is the stuck rank 0's.
    """
    notes: list[list[Any]] = []

    def read() -> None:
        store = own_store()
        for pause in (0.0, 3 * BEAT_S):
            time.sleep(pause)
            found = {}
            for rank in range(size):
                if store.check([f"{KEY}{rank}"]):
                    found[rank] = json.loads(store.get(f"{KEY}{rank}"))
            notes.append([found.get(rank) for rank in range(size)])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(15 * BEAT_S)
    if len(notes) < 2:
        return "rank 0 does not answer, in whose process the ranks meet: it is stuck, or its machine is gone"
    return "; ".join(judged(*notes))


def judged(before: list[Any], after: list[Any]) -> list[str]:
    """A line a stuck rank, of two readings of the notes some beats apart."""
    lines = []
    for rank, (one, other) in enumerate(zip(before, after, strict=True)):
        if other is None:
            lines.append(f"rank {rank} never began")
        elif one is not None and one[0] == other[0]:
            lines.append(f"rank {rank} ({other[3]}) has stopped, last seen {other[1]} at image {other[2]}")
        elif other[1] != STEP:
            lines.append(f"rank {rank} ({other[3]}) is still {other[1]} at image {other[2]}")
    return lines or ["every rank is alive and in a step: the network between them does not carry"]
