"""A world of one, which is the same code."""

import torch

from launch.world import World


def test_a_world_of_one_needs_no_process_group() -> None:
    world = World(0, 1, torch.device("cpu"))
    assert world.first
    assert world.gather({"a": 1}) == [{"a": 1}]
