"""Batches on their way to a GPU: copied there on a stream of their own, while it computes with the ones before."""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Sent(NamedTuple):
    """A batch that is being copied."""

    there: Any
    here: Any
    """Where it is copied from, to be kept until that is done."""
    done: torch.cuda.Event | None


class Prefetch:
    """Iterates over the batches of `take` on a device; the next one is sent ahead where it is `ready` without a wait.

    What is made of a batch waits on the device for its copy, and nothing on the CPU waits for either. A fault of a
    batch is raised at its place: one that is not `ready` is not taken before it is asked for. On a CPU batches pass as
    they are.
    """

    def __init__(self, take: Callable[[], Any], ready: Callable[[], bool], device: torch.device) -> None:
        self.take = take
        self.ready = ready
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.ahead: Sent | None = None
        self.under_way: deque[Sent] = deque()

    def __next__(self) -> Any:
        """The next batch. Raises what `take` raises."""
        sent = self.ahead or self.send(self.take())
        self.ahead = None
        batch = self.receive(sent)
        if self.ready():
            self.ahead = self.send(self.take())
        return batch

    def send(self, batch: Any) -> Sent:
        """Begin to copy a batch of tensors in pinned memory."""
        if self.stream is None or not isinstance(batch, tuple):
            return Sent(batch, batch, None)
        while self.under_way and is_done(self.under_way[0]):
            self.under_way.popleft()
        with torch.cuda.stream(self.stream):
            there = type(batch)(*(part.to(self.device, non_blocking=True) for part in batch))
            sent = Sent(there, batch, self.stream.record_event())
        self.under_way.append(sent._replace(there=None))
        return sent

    def receive(self, sent: Sent) -> Any:
        """The batch, for work on the current stream."""
        if sent.done is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(sent.done)
            for part in sent.there:
                # Its memory belongs to the stream of copies, which must not reuse it before this one has done with it.
                part.record_stream(current)
        return sent.there


def is_done(sent: Sent) -> bool:
    return sent.done is None or bool(sent.done.query())  # type: ignore[no-untyped-call]
