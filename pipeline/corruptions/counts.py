"""Poisson counts from the uniform numbers of a counter-based generator."""

import torch
from torch import Tensor

from pipeline.philox import Philox, fraction

LARGE = 10.0  # expected counts from which on rejection is the faster way, and valid
MOST_SMALL = 64  # an expectation below LARGE exceeds it with probability 1e-30
CHECK_EVERY = 8  # steps: to ask whether all are done waits for the device


def counts_by_counting(rates: Tensor, generators: Philox) -> Tensor:
    """Independent Poisson counts of (N, ...) rates, float32; mean and variance `rates`, which must not be negative.

    In double precision throughout. A count changes with the device only where a uniform number of 32 or 53 bits lies
    within rounding of a step of the distribution, about once in 1e12.
    """
    rate = rates.double().flatten(1)
    counts = torch.empty_like(rate)
    call = generators.call()
    for chosen, sample in ((rate < LARGE, invert), (rate >= LARGE, reject)):
        picture, place = chosen.nonzero(as_tuple=True)
        if len(place):
            counts[picture, place] = sample(rate[picture, place], place, picture, call, generators)
    return counts.float().view(rates.shape)


def invert(rate: Tensor, place: Tensor, picture: Tensor, call: int, generators: Philox) -> Tensor:
    """For small expectations: the least count whose distribution function exceeds a uniform number."""
    high, low, _, _ = generators.at(place, picture, call)
    uniform = fraction(high, low)
    probability = torch.exp(-rate)
    reached, count = probability.clone(), torch.zeros_like(rate)
    for step in range(1, MOST_SMALL):
        beyond = uniform >= reached
        if step % CHECK_EVERY == 1 and not bool(beyond.any()):
            break
        count += beyond
        probability *= rate / step
        reached += probability
    return count


def reject(rate: Tensor, place: Tensor, picture: Tensor, call: int, generators: Philox) -> Tensor:
    """For large ones: transformed rejection with squeeze, algorithm PTRS of Hoermann 1993."""
    count, waiting, attempt = torch.empty_like(rate), torch.arange(len(rate), device=rate.device), 0
    while len(waiting):
        u, v, _, _ = ((word.double() + 0.5) * 2**-32 for word in generators.at(place, picture, call, attempt))
        proposed, accepted = propose(rate, u, v)
        count[waiting[accepted]] = proposed[accepted]
        waiting, rate, place, picture = (part[~accepted] for part in (waiting, rate, place, picture))
        attempt += 1
    return count


def propose(rate: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """A count from two uniform numbers, and whether it is to be taken."""
    b = 0.931 + 2.53 * rate.sqrt()
    a = -0.059 + 0.02483 * b
    u = u - 0.5
    edge = 0.5 - u.abs()
    count = ((2 * a / edge + b) * u + rate + 0.43).floor()
    density = -rate + count * rate.log() - torch.lgamma(count.clamp(min=0) + 1)
    hat = v.log() + (1.1239 + 1.1328 / (b - 3.4)).log() - (a / edge.square() + b).log()
    inside = (edge >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    outside = (count < 0) | ((edge < 0.013) & (v > edge))
    return count, inside | (~outside & (hat <= density))
