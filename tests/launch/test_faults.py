"""What a cluster does to a training: ranks and nodes killed, frozen, replaced and added, with real processes.

Slow, so behind `make test-faults`.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--train.images=1200",
    "--train.log_every_images=80",
    "--train.checkpoint_every_images=40",
    "--data.validation=",
)

pytestmark = pytest.mark.faults


class Node:
    """An agent of torchrun and the ranks below it, started as every launcher starts them."""

    def __init__(self, log: Path, environment: dict[str, str], options: tuple[str, ...]) -> None:
        self.log = log
        command = [ROOT / "launch" / "node.sh", *options]
        with open(log, "wb") as file:
            self.agent = subprocess.Popen(command, env=environment, stderr=file, stdout=file, start_new_session=True)

    def ranks(self) -> list[int]:
        return children(self.agent.pid)

    def kill(self) -> None:
        """As a power cut does: the agent and everything below it, with no chance to say anything."""
        ranks = self.ranks()
        for pid in (self.agent.pid, *ranks, *(worker for rank in ranks for worker in children(rank))):
            os.kill(pid, signal.SIGKILL)
        self.agent.wait()

    def running(self) -> bool:
        return self.agent.poll() is None


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


class Cluster:
    """Nodes of one training in folder/run."""

    def __init__(self, folder: Path, environment: dict[str, str], options: tuple[str, ...], size: str) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.options = (f"run={self.run}", *options, *OPTIONS)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            head = f"127.0.0.1:{free.getsockname()[1]}"
        # As many threads wherever a rank runs: their number decides the order of sums.
        fixed = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "2"}
        self.environment = environment | fixed | {"NODES": size, "HEAD": head}
        self.nodes: list[Node] = []

    def start(self, *, ranks: int = 1) -> Node:
        """Another node; the first is the one where they meet."""
        environment = self.environment | {"PROCESSES": str(ranks), "IS_HEAD": str(int(not self.nodes))}
        self.nodes.append(Node(self.folder / f"node{len(self.nodes)}.log", environment, self.options))
        return self.nodes[-1]

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 400) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"{what} did not come:\n{self.says()}"
            time.sleep(0.02)

    def wait_for_images(self, images: int) -> None:
        self.wait(f"image {images}", lambda: self.images() >= images)

    def finish(self) -> dict[int, float]:
        """Wait for the end of those that live; their exit codes are 0. Returns the loss at each image count."""
        living = [node for node in self.nodes if node.running()]
        self.wait("the end", lambda: not any(node.running() for node in living))
        assert all(node.agent.returncode == 0 for node in living), self.says()
        lines = [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]
        return {line["images"]: line["train/loss"] for line in lines if "train/loss" in line}

    def images(self) -> int:
        """The clock of the newest checkpoint."""
        return max((int(path.stem) for path in (self.run / "checkpoints").glob("*.pt")), default=0)

    def worlds(self) -> list[int]:
        """The number of ranks of every start so far."""
        starts = json.loads((self.run / "about.json").read_text())["starts"]
        return [start["world"]["ranks"] for start in starts]

    def says(self) -> str:
        return "\n".join(f"{node.log.name}:\n{node.log.read_text()[-4000:]}" for node in self.nodes)

    def kill(self) -> None:
        for node in self.nodes:
            if node.running():
                node.kill()


Make = Callable[..., Cluster]


@pytest.fixture
def cluster(tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]) -> Iterator[Make]:
    """Makes a cluster of so many nodes; none outlives the test."""
    made: list[Cluster] = []

    def make(size: str = "2") -> Cluster:
        made.append(Cluster(tmp_path, child_environment, tiny, size))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture(scope="module")
def undisturbed(
    tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]
) -> dict[int, float]:
    """The losses of the same training on two ranks that nothing happened to."""
    cluster = Cluster(tmp_path_factory.mktemp("undisturbed"), child_environment, tiny, "1")
    cluster.start(ranks=2)
    try:
        return cluster.finish()
    finally:
        cluster.kill()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_started_again(cluster: Make, undisturbed: dict[int, float], rank: int) -> None:
    one = cluster("1")
    node = one.start(ranks=2)
    one.wait_for_images(240)
    os.kill(node.ranks()[rank], signal.SIGKILL)
    assert one.finish() == undisturbed
    assert one.worlds() == [2, 2]


def test_a_lost_node_is_replaced(cluster: Make, undisturbed: dict[int, float]) -> None:
    two = cluster("2")
    two.start()
    lost = two.start()
    two.wait_for_images(240)
    lost.kill()
    two.start()
    assert two.finish() == undisturbed
    assert two.worlds() == [2, 2]


def test_a_node_lost_for_good_is_done_without(cluster: Make, undisturbed: dict[int, float]) -> None:
    two = cluster("1:2")
    two.start()
    lost = two.start()
    two.wait("both", lambda: two.images() >= 240 and two.worlds()[-1] == 2)
    lost.kill()
    assert two.finish() == pytest.approx(undisturbed, rel=1e-2)
    assert two.worlds()[-1] == 1


def test_a_node_that_comes_later_takes_part(cluster: Make, undisturbed: dict[int, float]) -> None:
    one = cluster("1:2")
    one.start()
    one.wait_for_images(240)
    one.start()
    assert one.finish() == pytest.approx(undisturbed, rel=1e-2)
    assert one.worlds() == [1, 2]


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
