"""Worker processes: none outlives its parent, and the folder belongs to one plan."""

import os
import subprocess
import sys
import time
from pathlib import Path

from pipeline.sharding.jobs import differences
from tests.conftest import environment


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_die_with_their_parent(many: Path, tmp_path: Path) -> None:
    """An orphan would write into files that the same command, run again, is writing."""
    out = tmp_path / "set"
    command = [sys.executable, "-m", "pipeline.shard", many, "--out", out, "--shard-mb", "0.01", "--workers", "2"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(out.glob("*.tar")):
        time.sleep(0.002)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, workers)), os.listdir(out)


def test_differences_name_the_options() -> None:
    before = {"seed": 0, "tile": 8, "plan_sha256": "a"}
    assert differences(before, {**before, "seed": 1}) == "seed is 1, was 0"
    assert "names or sizes" in differences(before, {**before, "plan_sha256": "b"})
