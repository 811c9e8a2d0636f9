"""A run's folder belongs to one process at a time."""

import fcntl
import threading
import time
from pathlib import Path

import pytest

from launch import run_dir
from launch.run_dir import RunDir
from pipeline.errors import BadInput


def test_a_lock_that_a_dying_process_holds_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with open(tmp_path / "lock", "a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        freed = threading.Timer(0.5, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        freed.start()
        began = time.monotonic()
        run = RunDir(tmp_path)
        run.claim()
        assert time.monotonic() - began > 0.4
        run.release()


def test_a_lock_that_stays_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_dir, "CLAIM_WAIT_S", 0.3)
    holder = RunDir(tmp_path)
    holder.claim()
    with pytest.raises(BadInput, match="another process is training this run"):
        RunDir(tmp_path).claim()
    holder.release()
