"""Rows of the benchmark of loaders: each a group of processes of its own, stopped while it is not its turn.

Rows take turns, so what else the machine does falls on all of them.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).with_name("loader_peers.py")


@dataclass(frozen=True)
class Title:
    name: str
    reads: str
    ours: bool = False


TITLES = {
    "baseline": Title("Pillow, numpy, no workers", "JPEG"),
    "webdataset": Title("webdataset", "JPEG"),
    "mds": Title("MosaicML Streaming", "JPEG"),
    "litdata": Title("LitData", "JPEG"),
    "dali": Title("DALI on the CPU", "JPEG"),
    "ffcv-jpg": Title("FFCV, jpg", "JPEG, encoded anew"),
    "ffcv-raw": Title("FFCV, raw", "pixels"),
    "jpeg": Title("n2n", "JPEG", True),
    "jpeg-4": Title("n2n, 4 crops a picture", "JPEG", True),
    "pixels": Title("n2n, pixels", "pixels", True),
    "pixels-uint8": Title("n2n, pixels, for noise on the device", "pixels, 8 bits out", True),
}
KEEP_BYTES = ("webdataset", "mds", "litdata", "dali")  # peers that read the files as they are, with workers


@dataclass(frozen=True)
class Turn:
    pairs_per_s: float
    cpu_s_per_1000: float


class Server:
    """A row that is ready to be measured."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        try:
            self.ready = bool(self.answer())
        except BaseException:  # nobody else knows of it yet
            self.close()
            raise
        self.signal(signal.SIGSTOP)

    def answer(self) -> dict[str, float]:
        """The next line that is ours; empty where the process has ended."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith('{"'):
                answer: dict[str, float] = json.loads(line)
                return answer
        return {}

    def turn(self, seconds: float) -> Turn | None:
        """What came in so many seconds; nothing where the row has failed."""
        assert self.process.stdin
        self.signal(signal.SIGCONT)
        try:
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        except OSError:
            return None
        told = self.answer()
        self.signal(signal.SIGSTOP)
        return Turn(told["pairs"] / told["seconds"], 1000 * told["cpu_s"] / told["pairs"]) if told else None

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            self.ready = False

    def close(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.communicate()


def command(row: str, verb: str, python: str, job: list[str]) -> list[str]:
    if TITLES[row].ours:
        return [sys.executable, "-m", "launch.benches.loader_rows", row, *job]
    return [sys.executable if row == "baseline" else python, "-P", str(PEERS), verb, row, *job]


def run(rows: list[str], python: str, job: list[str], repeats: int, seconds: float) -> dict[str, list[Turn]]:
    """What every row delivered, taking turns; rows that do not run are left out with the reason."""
    folder = Path(job[0])
    servers: dict[str, Server] = {}
    turns: dict[str, list[Turn]] = {}
    try:
        for row in rows:
            log = folder / f"{row}.log"
            servers[row] = Server(command(row, "serve", python, job), log)
            if not servers[row].ready:
                servers.pop(row).close()
                print(f"{TITLES[row].name}: left out, {reason(log)}", flush=True)
        for _ in range(repeats):
            for row in list(servers):
                turn = servers[row].turn(seconds)
                if turn is None:
                    servers.pop(row).close()
                    turns.pop(row, None)
                    print(f"{TITLES[row].name}: left out, {reason(folder / f'{row}.log')}", flush=True)
                else:
                    turns.setdefault(row, []).append(turn)
    finally:
        for server in servers.values():
            server.close()
    return turns


def reason(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it ended without a word"
