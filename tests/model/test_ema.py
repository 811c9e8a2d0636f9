"""The average of the weights follows the clock."""

import pytest
import torch
from torch import nn

from model.ema import ema_weight, update_ema


def test_half_of_the_past_is_forgotten_in_a_half_life() -> None:
    kept = 1.0
    for step in range(100):
        kept *= 1 - ema_weight(1_000_000 + 20 * step, 20, 2000)
    assert kept == pytest.approx(0.5)


def test_the_average_does_not_know_the_batch() -> None:
    one = 1 - ema_weight(1_000_000, 64, 2000)
    four = (1 - ema_weight(1_000_000, 16, 2000)) ** 4
    assert one == pytest.approx(four)


def test_early_weights_do_not_linger() -> None:
    assert ema_weight(16, 16, 2000) > 0.99
    assert ema_weight(1000, 16, 2000) > ema_weight(100_000, 16, 2000)
    assert ema_weight(1000, 16, 0) == 1


def test_the_average_moves_by_the_weight() -> None:
    ema, net = nn.Linear(2, 2), nn.Linear(2, 2)
    before = ema.weight.detach().clone()
    update_ema(ema, net, 0.25)
    assert torch.allclose(ema.weight, before + 0.25 * (net.weight - before))
