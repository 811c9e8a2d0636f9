"""Where everything of a run lies: the one file that knows the layout of runs/<name>/."""

import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import yaml

from pipeline.atomic import write_whole
from pipeline.errors import BadInput, disk_error
from pipeline.index import library_versions

CLAIM_WAIT_S = 15.0  # a worker process looks every 5 seconds whether its parent is there


class RunDir:
    """runs/<name>/: config.yaml, about.json, metrics.jsonl, checkpoints/, pictures/, wandb/."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.about = path / "about.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.pictures = path / "pictures"
        self.lock: IO[str]

    def claim(self) -> None:
        """Make the folders, and keep any other process from training into them until this one ends.

        Waits a little for a lock to be freed: the loader's workers of a process that was killed hold it, until
        they notice. Raises BadInput where that is not allowed, or where another process has claimed the run.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.pictures.mkdir(exist_ok=True)
            self.lock = open(self.path / "lock", "a+")  # noqa: SIM115  # held until the process ends, however it does
            lock_within(CLAIM_WAIT_S, self.lock)
        except BlockingIOError as error:
            with self.lock:
                self.lock.seek(0)
                holder = self.lock.read()
            raise BadInput(
                "another process is training this run",
                where=self.path,
                got=holder or "a lock",
                wanted="one training a run",
                todo="wait for it, stop it, or start another run with --run",
            ) from error
        except OSError as error:
            raise disk_error(error, self.path) from error
        self.lock.truncate(0)
        self.lock.write(f"process {os.getpid()} on {platform.node()}")
        self.lock.flush()

    def release(self) -> None:
        """Let another process train the run; the end of this one, however it comes, does the same."""
        self.lock.close()

    def explain(self, config: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write down what the run is: its resolved configuration, and where it came from."""
        with write_whole(self.config) as file:
            file.write(yaml.safe_dump(plain(config), sort_keys=False).encode())
        start = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": sys.argv,
            "git": git_state(),
            "versions": library_versions("n2n", "torch", "torchvision", "webdataset", "numpy", "pillow", "wandb"),
            "python": sys.version,
            **facts,
        }
        with write_whole(self.about) as file:
            file.write(json.dumps({"starts": [*self.starts(), start]}, indent=1).encode() + b"\n")

    def starts(self) -> list[dict[str, Any]]:
        """What about.json says of the starts of this run, the first and every resumption."""
        try:
            starts: list[dict[str, Any]] = json.loads(self.about.read_bytes())["starts"]
        except (OSError, ValueError, KeyError):
            return []
        return starts

    def forget_metrics_after(self, images: int) -> None:
        """Drop the lines that a resumed run will write again, and a last line cut short by a crash."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_bytes().splitlines(keepends=True):
            try:
                if json.loads(line)["images"] <= images and line.endswith(b"\n"):
                    kept.append(line)
            except ValueError:
                continue
        with write_whole(self.metrics) as file:
            file.write(b"".join(kept))

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one object to metrics.jsonl."""
        try:
            with open(self.metrics, "ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise disk_error(error, self.metrics) from error


def lock_within(seconds: float, file: IO[str]) -> None:
    """Lock a file for this process alone. Raises BlockingIOError where another holds it all that time."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def plain(value: Any) -> Any:
    """Tuples as lists, which is all that YAML knows."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def git_state() -> dict[str, Any]:
    """The commit of the code that runs, and whether it has been edited since; empty outside a git checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "edited": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return {}


def existing_run(path: Path) -> RunDir:
    """An earlier run's folder. Raises BadInput where there is none."""
    if not (path / "checkpoints").is_dir():
        raise BadInput("no run there", path, "no folder checkpoints", "a run of `n2n train`", "check the path")
    return RunDir(path)
