"""The batch scripts under a real Slurm of two nodes, both on this machine: started for these tests, and ended.

Needs root and Debian's packages slurm-wlm and munge; behind `make test-slurm`.
"""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launch.cluster import OPTIONS, ROOT

needed = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(name)]

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(needed), reason=f"not installed: {', '.join(needed)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd needs root"),
]

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SelectType=select/cons_tres
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE OverSubscribe=YES State=UP
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Slurm:
    """A controller and two nodes on this machine."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.head = f"127.0.0.1:{free_ports(1)[0]}"
        self.environment = environment | {"SLURM_CONF": str(folder / "slurm.conf"), "PYTHON": sys.executable}
        (folder / "state").mkdir()
        host = socket.gethostname().split(".")[0]
        text = CONF.format(host=host, folder=folder, ports=free_ports(3), cpus=os.cpu_count())
        (folder / "slurm.conf").write_text(text)
        self.daemons: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "out", "seed-file": "seed"}
        munge = ["munged", "--foreground", "--force"]
        munge += [f"--{option}={self.folder}/munge.{name}" for option, name in places.items()]
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
            with open(self.folder / f"{command[0]}-{command[-1][:2]}.out", "wb") as log:
                daemon = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            self.daemons.append(daemon)
            time.sleep(1)
        self.wait("two idle nodes", lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", 60)

    def end(self) -> None:
        self.ask("scancel", "--user", getpass.getuser())
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=ROOT, check=False)
        return done.stdout

    def submit(self, *command: object, **environment: str) -> str:
        """The number of a job."""
        line = ["sbatch", "--parsable", "--chdir", str(ROOT), f"--output={self.folder}/%j-%a.log", *map(str, command)]
        both = self.environment | environment
        done = subprocess.run(line, env=both, capture_output=True, text=True, cwd=ROOT, check=True)
        return done.stdout.strip()

    def state(self, job: str) -> str:
        found = self.ask("scontrol", "-o", "show", "job", job)
        states = [word.partition("=")[2] for word in found.split() if word.startswith("JobState=")]
        return ",".join(sorted(set(states)))

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 240) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"{what} did not come:\n{self.says()}"
            time.sleep(0.1)

    def says(self) -> str:
        queue = self.ask("squeue", "-l")
        return queue + "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]) -> Iterator[Slurm]:
    cluster = Slurm(tmp_path_factory.mktemp("slurm"), child_environment)
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.end()


def test_two_nodes_are_pre_empted_and_go_on(slurm: Slurm, tiny: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = (f"run={run}", *tiny, *OPTIONS)
    settings = {"HEAD": slurm.head, "PROCESSES": "1", "OMP_NUM_THREADS": "2"}
    job = slurm.submit("--nodes=2", "launch/slurm/train.sbatch", *options, **settings)
    slurm.wait("a checkpoint", lambda: any((run / "checkpoints").glob("*.pt")))
    slurm.ask("scancel", "--signal=USR1", "--batch", job)  # what Slurm itself sends before it takes nodes back
    slurm.wait("its being queued again", lambda: slurm.state(job) == "PENDING")
    # By itself it waits two minutes; in the same second its nodes still refuse it.
    time.sleep(3)
    slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
    slurm.wait("the end", lambda: slurm.state(job) == "COMPLETED")
    starts = json.loads((run / "about.json").read_text())["starts"]
    assert [start["world"]["ranks"] for start in starts] == [2, 2], slurm.says()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == list(range(80, 1201, 80))
    assert "SIGTERM: stopped at" in next(slurm.folder.glob(f"{job}-*.log")).read_text()


def test_an_array_makes_a_set(slurm: Slurm, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    line = ("launch/slurm/shard.sbatch", pictures, "--out", out, "--shard-mb", "0.015")
    array = slurm.submit("--array=0-2", *line)
    last = slurm.submit(f"--dependency=afterok:{array}", *line, "--finish")
    slurm.wait("the index", lambda: slurm.state(last) == "COMPLETED")
    assert json.loads((out / "index.json").read_text())["shardlist"]
