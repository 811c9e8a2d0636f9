"""What a cluster does to a training: ranks and nodes killed, frozen, replaced and added, with real processes.

Slow, so behind `make test-faults`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launch.cluster import OPTIONS, ROOT, Make, assert_same, children, free_place

pytestmark = pytest.mark.faults

ROUNDING = 0.01
"""Of a loss: another number of ranks adds in another order, and training makes that grow."""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_started_again(cluster: Make, undisturbed: dict[int, float], rank: int) -> None:
    one = cluster("1")
    node = one.start(ranks=2)
    one.wait_for_images(240)
    os.kill(node.ranks()[rank], signal.SIGKILL)
    assert_same(one.finish(), undisturbed)
    assert one.worlds() == [2, 2]


def test_a_lost_node_is_replaced(cluster: Make, undisturbed: dict[int, float]) -> None:
    two = cluster("2")
    two.start()
    lost = two.start()
    two.wait_for_images(240)
    lost.kill()
    two.start()
    assert_same(two.finish(), undisturbed)
    assert two.worlds() == [2, 2]


def test_a_node_lost_for_good_is_done_without(cluster: Make, undisturbed: dict[int, float]) -> None:
    two = cluster("1:2")
    two.start()
    lost = two.start()
    two.wait("both", lambda: two.images() >= 240 and two.worlds()[-1] == 2)
    lost.kill()
    assert_same(two.finish(), undisturbed, ROUNDING)
    assert two.worlds()[-1] == 1


def test_a_node_that_comes_later_takes_part(cluster: Make, undisturbed: dict[int, float]) -> None:
    one = cluster("1:2")
    one.start()
    one.wait_for_images(240)
    one.start()
    assert_same(one.finish(), undisturbed, ROUNDING)
    assert one.worlds() == [1, 2]


def test_two_nodes_on_this_machine_leave_together(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]
) -> None:
    """launch/local_cluster.sh: both nodes train, SIGTERM to the script is one to both, and nothing outlives it."""
    run = tmp_path / "run"
    command = [ROOT / "launch" / "local_cluster.sh", f"run={run}", *tiny, *OPTIONS, "--train.images=1000000"]
    environment = child_environment | {"PYTHON": sys.executable, "HEAD": free_place(), "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "log", "wb") as log:
        script = subprocess.Popen(command, env=environment, stderr=log, stdout=log, start_new_session=True)
    try:
        until = time.monotonic() + 150
        while not list((run / "checkpoints").glob("*.pt")):
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.05)
        script.terminate()
        script.wait(60)
        told = (tmp_path / "log").read_text()
        assert told.count("SIGTERM: stopped at") == 1, told
        (start,) = json.loads((run / "about.json").read_text())["starts"]
        assert start["world"]["ranks"] == 2
        left = subprocess.run(["pgrep", "-g", str(script.pid)], capture_output=True, text=True, check=False)
        assert not left.stdout.strip(), told
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_rank_is_named(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str], rank: int
) -> None:
    """Stopped by SIGSTOP, as a machine that hangs; the other waits for N2N_TIMEOUT_S and says for whom."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command += ["launch.train", f"run={tmp_path / 'run'}", *tiny, *OPTIONS, "--train.images=1000000"]
    environment = child_environment | {"N2N_TIMEOUT_S": "8", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with open(tmp_path / "log", "wb") as log:
        agent = subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 150
        while not list((tmp_path / "run" / "checkpoints").glob("*.pt")):
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.05)
        frozen = children(agent.pid)[rank]
        os.kill(frozen, signal.SIGSTOP)
        until = time.monotonic() + 120
        while "lost each other" not in (tmp_path / "log").read_text():
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.05)
        time.sleep(1)
        told = (tmp_path / "log").read_text()
        assert (f"rank 1 (process {frozen}" if rank else "rank 0 does not answer") in told, told
        assert f"rank {1 - rank} (" not in told
    finally:
        pids = [pid for one in children(agent.pid) for pid in (one, *children(one))]
        for pid in (agent.pid, *pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        agent.wait()
