"""The published ramp-down."""

import time

import pytest

from launch.optimizer import OptimConfig
from launch.schedule import Rhythm, learning_rate


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


def test_a_time_passes_once_and_begins_anew() -> None:
    short, never = Rhythm(0, 0.05 / 60), Rhythm(0, 0)
    assert not short.minutes_passed()
    time.sleep(0.06)
    assert short.minutes_passed()
    assert not short.minutes_passed()
    assert not never.minutes_passed()


def test_images_pass_at_the_step_that_crosses_a_multiple() -> None:
    """Whatever the batch: it need not divide the interval, and may be larger."""
    for batch, crossed in ((4, [12, 20, 32]), (3, [12, 21, 30]), (16, [16, 32])):
        rhythm = Rhythm(10, 0)
        assert [images for images in range(batch, 33, batch) if rhythm.images_passed(images, batch)] == crossed
    assert not Rhythm(0, 0).images_passed(32, 16)
