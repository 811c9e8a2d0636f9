"""A world of one, which is the same code; and a world whose first rank has frozen."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from launch.world import World, is_timeout
from tests.conftest import ROOT

FROZEN = """
import os, signal
import launch.world as world
world.STORE_WAIT_S = 0.5
here = world.join_world()
host = here.gather(os.getpid())[0]
if not here.first:
    assert not world.failure_is_told()
    assert world.is_first_to_tell("one")
    assert not world.is_first_to_tell("two")
    assert world.failure_is_told()
    os.kill(host, signal.SIGSTOP)
    try:
        assert not world.failure_is_told()
        assert world.is_first_to_tell("three")
    finally:
        os.kill(host, signal.SIGCONT)
    open("waited", "w").close()
here.gather(0)
world.leave_at_once()
"""


def test_a_world_of_one_needs_no_process_group() -> None:
    world = World(0, 1, torch.device("cpu"))
    assert world.first
    assert world.gather({"a": 1}) == [{"a": 1}]


@pytest.mark.parametrize(
    "words",
    [
        "[unbound_buffer.cc:81] Timed out waiting 8000ms for recv operation to complete",
        "Application timeout caused pair closure",
    ],
)
def test_both_ways_that_gloo_tells_of_a_timeout_are_known(words: str) -> None:
    assert is_timeout(RuntimeError(words))
    assert not is_timeout(RuntimeError("Connection closed by peer [127.0.0.1]:48062"))


def test_a_frozen_host_of_the_store_is_not_waited_for(tmp_path: Path, child_environment: dict[str, str]) -> None:
    (tmp_path / "frozen.py").write_text(FROZEN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "frozen.py"]
    settings = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "PYTHONPATH": str(ROOT)}  # the store is then rank 0's
    done = subprocess.run(
        command, cwd=tmp_path, env=child_environment | settings, capture_output=True, text=True, timeout=120
    )
    assert (tmp_path / "waited").exists(), done.stderr
