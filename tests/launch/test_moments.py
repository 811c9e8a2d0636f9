"""What is due after a step, in a world of one; of several, test_train.py and test_stopping.py have the real thing."""

import signal
import time
from collections.abc import Iterator

import pytest
import torch

from launch.moments import Moments
from launch.schedule import Rhythm
from launch.stopping import SIGNALS, StopRequest
from launch.world import World

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    handlers = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGINT)}
    yield StopRequest()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_what_is_due_and_what_follows(stop: StopRequest) -> None:
    moments = Moments(ALONE, stop, 4, 12, log=Rhythm(4, 0), validate=Rhythm(8, 0), checkpoint=Rhythm(0, 0))
    found = [moments.after(images) for images in (4, 8, 12)]
    assert [moment.logs for moment in found] == [True, True, True]
    assert [moment.validates for moment in found] == [False, True, True]
    assert [moment.saves for moment in found] == [False, False, True], "at the end, if never else"
    assert [moment.done for moment in found] == [False, False, True]
    signal.raise_signal(signal.SIGUSR1)
    moment = moments.after(4)
    assert (moment.stopped, moment.saves, moment.validates) == ("SIGUSR1", True, False)


def test_the_clock_begins_anew_with_what_images_bring_about(stop: StopRequest) -> None:
    moments = Moments(ALONE, stop, 4, 1000, checkpoint=Rhythm(8, 0.3 / 60))
    time.sleep(0.2)
    assert moments.after(8).saves
    time.sleep(0.2)
    assert not moments.after(12).saves, "0.4 s after the start, 0.2 s after the last"
    time.sleep(0.15)
    assert moments.after(12).saves
