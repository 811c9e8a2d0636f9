"""Random numbers for one picture or a batch: a batch takes a generator a picture, and equals them one by one."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from pipeline.corruptions.counts import counts_by_counting
from pipeline.normals import fill
from pipeline.philox import Philox

Generators = Generator | Sequence[Generator] | Philox
"""One generator for (..., C, H, W) as a whole, or one for each picture of (N, C, H, W), which may be on any device."""

Strength = float | Tensor
"""One number for all, or (N, 1, 1, 1), one a picture; in noise functions float32, as pixels are."""


def normal(shape: Sequence[int], generators: Generators) -> Tensor:
    """Independent draws of the standard normal distribution, float32."""
    if isinstance(generators, Philox):
        return generators.normal(shape)
    return _fill(torch.empty(shape), generators, _fill_normal)


def normal_around(mean: Tensor, deviation: Strength, generators: Generators) -> Tensor:
    """Independent draws of normal distributions of such means and standard deviations: `normal`, scaled and moved.

    Numbers are made and added while they are in the processor's cache.
    """
    if isinstance(generators, Philox) or (isinstance(generators, Generator) and isinstance(deviation, Tensor)):
        # In place: fresh memory costs as much again.
        return normal(mean.shape, generators).mul_(deviation).add_(mean)
    mean = mean.float().contiguous()
    noisy = torch.empty(mean.shape)
    if isinstance(generators, Generator):
        fill(noisy.numpy(), _key(generators), float(deviation), mean.numpy())
        return noisy
    each = torch.as_tensor(deviation, dtype=torch.float32).flatten().expand(len(noisy)).tolist()
    for there, around, scale, generator in zip(noisy.numpy(), mean.numpy(), each, generators, strict=True):
        fill(there, _key(generator), scale, around)
    return noisy


def uniform(shape: Sequence[int], generators: Generators) -> Tensor:
    """Independent draws, uniform in [0, 1), float32."""
    if isinstance(generators, Philox):
        return generators.uniform(shape)
    return _fill(torch.empty(shape), generators, lambda part, generator: part.uniform_(generator=generator))


def counts(rates: Tensor, generators: Generators) -> Tensor:
    """Independent Poisson counts, float32: mean and variance `rates`, which must not be negative."""
    if isinstance(generators, Philox):
        return counts_by_counting(rates, generators)
    if isinstance(generators, Generator):
        return torch.poisson(rates, generators)
    return torch.stack([torch.poisson(rate, one) for rate, one in zip(rates, generators, strict=True)])


def strength(low: float, high: float, generators: Generators, stops: bool = False) -> Strength:
    """Uniform in [low, high], or with `stops` in its logarithm, one a generator.

    A single value takes its number from the generator too, so that what follows does not depend on the range.
    """
    if isinstance(generators, Generator | Philox):
        if isinstance(generators, Philox):
            share: Strength = generators.share()
        else:
            share = float(torch.rand((), generator=generators, dtype=torch.float64))
        return low * (high / low) ** share if stops else low + (high - low) * share
    each = [strength(low, high, generator, stops) for generator in generators]
    return torch.tensor(each, dtype=torch.float64).view(-1, 1, 1, 1)


def _fill(
    empty: Tensor, generators: Generator | Sequence[Generator], fill: Callable[[Tensor, Generator], Tensor]
) -> Tensor:
    if isinstance(generators, Generator):
        return fill(empty, generators)
    for part, generator in zip(empty, generators, strict=True):
        fill(part, generator)
    return empty


def _fill_normal(part: Tensor, generator: Generator) -> Tensor:
    fill(part.numpy(), _key(generator))
    return part


def _key(generator: Generator) -> tuple[int, int, int]:
    a, b, c = torch.empty(3, dtype=torch.int64).random_(generator=generator).tolist()
    return a, b, c
