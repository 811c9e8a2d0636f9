"""The processes of a run: a world of one, or the ranks that torchrun started. Nothing else asks who it is."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from launch.pulse import told_stuck
from pipeline.errors import EXIT_BAD_INPUT, BadInput
from pipeline.memory import keep_freed_memory

T = TypeVar("T")

TIMEOUT_S = 600.0  # of a collective: longer than any validation or checkpoint, and finite; N2N_TIMEOUT_S says otherwise
STORE_WAIT_S = 10.0
FAILURE = "n2n/failure"  # key in the ranks' store: who failed first, and why


@dataclass(frozen=True)
class World:
    """This process among the others of the run."""

    rank: int
    size: int
    device: torch.device
    machine: Sequence[int] = ()
    """The ranks of this machine, or empty for this one alone."""

    @property
    def first(self) -> bool:
        """Whether this rank talks to people and disks."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # every None has been overwritten

    def from_first(self, value: T) -> T:
        """Rank 0's value, on every rank; what the others bring is not looked at."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all ranks, on every rank."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value


def run_in_world(run: Callable[[World], None]) -> None:
    """Join the world, run, leave it. The first rank to fail gives its message; the others stop in silence."""
    world = join_world()
    try:
        run(world)
    except BadInput as error:
        if world.size == 1:
            raise
        stop_all_ranks(world, error)
    except RuntimeError as error:
        # A collective whose peer has gone ends so. If the peer said why, its message is the one to read.
        if world.size > 1 and is_timeout(error):
            stop_all_ranks(world, waited_in_vain(world))
        if world.size > 1 and failure_is_told():
            leave_at_once()
        raise
    if world.size > 1:
        # Without the barrier, about one run in five of a few ended in SIGABRT at exit.
        dist.barrier()
        dist.destroy_process_group()


def join_world() -> World:
    """Read what torchrun set, if it did, and join the process group; pick the device and the threads."""
    size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local_size, local_rank = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
        asked = os.environ.get("OMP_NUM_THREADS", "")
        if not asked or (asked == "1" and "TORCHELASTIC_RUN_ID" in os.environ):
            # torchrun sets 1 where nothing is set, which would idle most cores.
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_size))
        keep_freed_memory()
    if size > 1:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_s()))
    return World(rank, size, device, range(rank - local_rank, rank - local_rank + local_size))


def stop_all_ranks(world: World, error: BadInput) -> None:
    """Leave a message in the store, print it if it is the first, and end this process; torchrun ends the others."""
    message = f"rank {world.rank} of {world.size}: {error}"
    if is_first_to_tell(message):
        sys.stderr.write(f"error: {message}\n")
    leave_at_once()


def is_first_to_tell(message: str) -> bool:
    """Whether no other rank has told a failure before; true where the store does not answer."""
    told = answer_of_store(lambda store: store.compare_set(FAILURE, "", message).decode())
    return told in (None, message)


def failure_is_told() -> bool:
    return bool(answer_of_store(lambda store: store.check([FAILURE])))


def answer_of_store(ask: Callable[[Any], T]) -> T | None:
    """What the ranks' store says; None where it has gone with its host, or is silent, as its host may be frozen."""
    answer: list[T] = []

    def wait() -> None:
        with contextlib.suppress(RuntimeError):
            answer.append(ask(dist.distributed_c10d._get_default_store()))

    asking = threading.Thread(target=wait, daemon=True)
    asking.start()
    asking.join(STORE_WAIT_S)
    return answer[0] if answer else None


def is_timeout(error: RuntimeError) -> bool:
    """Whether a collective waited in vain. Who sends hears of it otherwise than who receives."""
    return any(words in str(error).lower() for words in ("timed out", "timeout"))


def waited_in_vain(world: World) -> BadInput:
    return BadInput(
        "the ranks have lost each other",
        where=told_stuck(world.size),
        got=f"no answer for {timeout_s():.0f} s",
        wanted="every rank at every step; N2N_TIMEOUT_S is how long is waited",
        todo="look at that rank's machine, disk and data; then run the same command again to go on",
    )


def timeout_s() -> float:
    """How long a rank waits for the others, in seconds."""
    return float(os.environ.get("N2N_TIMEOUT_S", TIMEOUT_S))


def leave_at_once() -> None:
    """End without the clean-up of a process group whose peers have gone, which would hang or abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_BAD_INPUT)
