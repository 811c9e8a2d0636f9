"""Which rank is named as the stuck one; the real thing is in test_faults.py."""

import pytest

from launch.pulse import STEP, judged


def note(beats: int, doing: str = STEP, who: str = "process 7 on node3") -> list[object]:
    return [beats, doing, 240, who]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            [note(5), note(4)],
            [note(8), note(4)],
            ["rank 1 (process 7 on node3) has stopped, last seen in a step at image 240"],
        ),
        (
            [note(5), note(4, "waiting for data")],
            [note(8), note(7, "waiting for data")],
            ["rank 1 (process 7 on node3) is still waiting for data at image 240"],
        ),
        ([None, note(4)], [None, note(7)], ["rank 0 never began"]),
        (
            [note(5), note(4)],
            [note(8), note(7)],
            ["every rank is alive and in a step: the network between them does not carry"],
        ),
    ],
)
def test_two_readings_tell_who_is_stuck(before: list[object], after: list[object], told: list[str]) -> None:
    assert judged(before, after) == told
