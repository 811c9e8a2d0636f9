"""Memory: how much was held, and running out of it as a message that names the setting to lower."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from launch.config import RunConfig
from launch.world import World
from pipeline.errors import BadInput

CPU_REFUSAL = "can't allocate memory"  # of torch's CPU allocator, which has no error class of its own


@contextmanager
def memory_told(config: RunConfig, world: World) -> Iterator[None]:
    """Raise BadInput where a training step finds no memory on the device, or on a CPU none at all."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and CPU_REFUSAL not in str(error):
            raise
        share = config.train.batch // world.size
        part = share // config.train.accumulate
        smaller = next((parts for parts in range(config.train.accumulate + 1, share + 1) if share % parts == 0), 0)
        raise BadInput(
            "not enough memory for a training step",
            where=f"{world.device}, {part} pairs of {config.pairs.crop} x {config.pairs.crop} at a time",
            got=str(error).splitlines()[0],
            wanted="a step that fits",
            todo=(f"set train.accumulate={smaller}, which gives the same step in smaller parts; " if smaller else "")
            + "or lower train.batch or pairs.crop",
        ) from error


def peak_memory_gb(device: torch.device) -> float:
    """The most that was held so far: by torch on a GPU, or in main memory by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
