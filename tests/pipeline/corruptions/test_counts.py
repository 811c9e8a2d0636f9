"""Poisson counts by counting: the distribution itself, for small and for large expectations."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipeline.corruptions.counts import LARGE, counts_by_counting
from pipeline.philox import Philox

Agree = Callable[[Tensor, float, float], bool]
DRAWS = 40
RATES = [0.0, 1e-4, 0.3, 3.0, 9.99, 10.0, 14.0, 50.0, 400.0, 7500.0, 1e7]


def counts(rate: float, seed: int = 0) -> Tensor:
    return counts_by_counting(torch.full((DRAWS, 3, 40, 40), rate), Philox(seed, torch.arange(DRAWS)))


@pytest.mark.parametrize("rate", RATES)
def test_mean_variance_and_skewness(rate: float, agree: Agree) -> None:
    found = counts(rate).double()
    rate = float(torch.tensor(rate))
    assert torch.equal(found, found.floor())
    assert float(found.min()) >= 0
    assert agree(found, rate, rate)
    if rate >= 0.3:
        assert not agree(found * 1.03, rate, rate), "the twin: gain 3% off"
        centred = found - rate
        error = 5 * math.sqrt(float(centred.pow(6).mean()) / found.numel())
        assert abs(float(centred.pow(3).mean()) - rate) < error


@pytest.mark.parametrize("rate", [0.3, 3.0, 9.99, 10.0, 14.0, 50.0])
def test_every_count_is_as_frequent_as_it_should_be(rate: float) -> None:
    found = counts(rate).flatten().long()
    observed = torch.bincount(found).double()
    for count in range(len(observed)):
        expected = math.exp(count * math.log(rate) - rate - math.lgamma(count + 1)) * len(found)
        if expected > 25:
            assert abs(float(observed[count]) - expected) < 5 * math.sqrt(expected) + 1, f"{count} at {rate}"


def test_the_twin_of_another_rate_is_seen() -> None:
    """A distribution for 14.1 is not taken for one for 14."""
    found = counts(14.1).flatten().long()
    expected = math.exp(14 * math.log(14.0) - 14.0 - math.lgamma(15)) * len(found)
    tail = [math.exp(k * math.log(14.0) - 14.0 - math.lgamma(k + 1)) for k in range(14)]
    below = len(found) * sum(tail)
    assert expected > 0
    assert abs(float((found < 14).sum()) - below) > 5 * math.sqrt(below)


def test_rates_of_all_kinds_share_a_picture_and_no_draw_knows_its_batch() -> None:
    rates = torch.rand(6, 1, 9, 11, generator=torch.Generator().manual_seed(0)).pow(4) * 300
    assert bool((rates < LARGE).any())
    assert bool((rates > LARGE).any())
    whole = counts_by_counting(rates, Philox(2, torch.arange(6)))
    for row in range(6):
        assert torch.equal(
            counts_by_counting(rates[row : row + 1], Philox(2, torch.tensor([row]))), whole[row : row + 1]
        )
    assert float((whole - rates).square().mean() / rates.mean()) == pytest.approx(1, abs=0.3)


def test_neighbours_are_independent(agree: Agree) -> None:
    for rate in (3.0, 50.0):
        found = counts(rate).double().flatten(1) - rate
        for distance in (1, 4):
            assert agree(found[:, distance:] * found[:, :-distance] / rate, 0, 1)
