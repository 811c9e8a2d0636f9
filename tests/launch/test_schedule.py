"""The published ramp-down."""

import time

import pytest

from launch.schedule import Interval, OptimConfig, learning_rate


def test_values_of_the_published_schedule() -> None:
    config = OptimConfig(lr=3e-4, ramp_down=0.3)
    rates = [learning_rate(config, images, 1000) for images in (0, 699, 700, 775, 850, 925, 1000)]
    assert rates == pytest.approx([3e-4, 3e-4, 3e-4, 2.19e-4, 7.5e-5, 6.4e-6, 0], rel=0.01, abs=1e-12)


def test_without_ramp_down_the_rate_is_constant() -> None:
    assert learning_rate(OptimConfig(lr=1e-3, ramp_down=0), 1000, 1000) == 1e-3


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"ramp_down": 1.5}])
def test_impossible_values_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="optim"):
        OptimConfig(**options)


def test_an_interval_of_time_passes_and_starts_again() -> None:
    short, never = Interval(0.05 / 60), Interval(0)
    assert not short.over()
    time.sleep(0.06)
    assert short.over()
    short.restart()
    assert not short.over()
    assert not never.over()
