"""Nodes of a training as real processes: agents of torchrun and the ranks below them, to be killed and watched."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINE = 80  # images of a line of the log
OPTIONS = (
    "--train.images=1200",
    f"--train.log_every_images={LINE}",
    "--train.checkpoint_every_images=40",
    "--data.validation=",
)


class Node:
    """An agent of torchrun and the ranks below it, started as every launcher starts them; `within` a host, if any."""

    def __init__(self, log: Path, environment: dict[str, str], options: Sequence[str], within: Sequence[str]) -> None:
        self.log = log
        command = [*within, str(ROOT / "launch" / "node.sh"), *options]
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

    def __init__(
        self, folder: Path, environment: dict[str, str], options: tuple[str, ...], size: str, head: str = ""
    ) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.options = (f"run={self.run}", *options, *OPTIONS)
        head = head or free_place()
        # As many threads wherever a rank runs: their number decides the order of sums.
        fixed = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "2"}
        self.environment = environment | fixed | {"NODES": size, "HEAD": head}
        self.nodes: list[Node] = []

    def start(self, *, ranks: int = 1, within: Sequence[str] = (), options: Sequence[str] = ()) -> Node:
        """Another node, perhaps with options of its own; the first is the one where they meet."""
        environment = self.environment | {"PROCESSES": str(ranks), "IS_HEAD": str(int(not self.nodes))}
        log = self.folder / f"node{len(self.nodes)}.log"
        self.nodes.append(Node(log, environment, [*self.options, *options], within))
        return self.nodes[-1]

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 400) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"{what} did not come:\n{self.says()}"
            time.sleep(0.02)

    def wait_for_images(self, images: int) -> None:
        self.wait(f"image {images}", lambda: self.images() >= images)

    def finish(self) -> dict[int, float]:
        """Wait for the end of those that live; their exit codes are 0. Returns the loss at each image count.

        A line in whose middle a start went on is the mean since then, and is left out.
        """
        living = [node for node in self.nodes if node.running()]
        self.wait("the end", lambda: not any(node.running() for node in living))
        assert all(node.agent.returncode == 0 for node in living), self.says()
        lines = [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]
        begins = {int(images) for images in re.findall(r"resuming .* at (\d+) images", self.whole_logs())}
        cut = {-(-images // LINE) * LINE for images in begins if images % LINE}
        return {
            line["images"]: line["train/loss"] for line in lines if "train/loss" in line and line["images"] not in cut
        }

    def images(self) -> int:
        """The clock of the newest checkpoint."""
        return max((int(path.stem) for path in (self.run / "checkpoints").glob("*.pt")), default=0)

    def worlds(self) -> list[int]:
        """The number of ranks of every start so far."""
        starts = json.loads((self.run / "about.json").read_text())["starts"]
        return [start["world"]["ranks"] for start in starts]

    def whole_logs(self) -> str:
        return "".join(node.log.read_text() for node in self.nodes)

    def says(self) -> str:
        return "\n".join(f"{node.log.name}:\n{node.log.read_text()[-4000:]}" for node in self.nodes)

    def kill(self) -> None:
        for node in self.nodes:
            if node.running():
                node.kill()


def assert_same(losses: dict[int, float], undisturbed: dict[int, float], rel: float = 0.0) -> None:
    """At every line but those that a start cut in two, at most one a start."""
    assert len(losses) > 0.8 * len(undisturbed)
    assert losses == pytest.approx({images: undisturbed[images] for images in losses}, rel=rel, abs=0)


def free_place() -> str:
    """An address on this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


Make = Callable[..., Cluster]
