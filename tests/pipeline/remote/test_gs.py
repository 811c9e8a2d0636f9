"""Google's storage, by an emulator of it in a process of its own: the bytes of a local run, there and back."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.index import load_index
from pipeline.remote.place import Remote
from pipeline.remote.store import store_of
from tests.conftest import environment, folder_bytes

pytest.importorskip("gcsfs")
pytest.importorskip("gcp_storage_emulator")


@pytest.fixture
def settings() -> Iterator[dict[str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    start = "from gcp_storage_emulator.server import create_server as c; import sys, time\n"
    start += "c('127.0.0.1', int(sys.argv[1]), in_memory=True, default_bucket='bucket').start(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", start, str(port)], stderr=subprocess.DEVNULL) as server:
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        url = f"http://127.0.0.1:{port}"
        yield {**environment(), "STORAGE_EMULATOR_HOST": url, "FSSPEC_GS_TOKEN": "anon", "no_proxy": "127.0.0.1"}
        server.kill()
    store_of.cache_clear()


def n2n_shard(settings: dict[str, str], *arguments: object) -> None:
    command = [sys.executable, "-m", "pipeline.shard", *map(str, arguments), "--shard-mb", "0.02", "--workers", "2"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_there_and_back(settings: dict[str, str], pictures: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "in"))
    n2n_shard(settings, folder, "--out", tmp_path / "here")
    for part in ("0/2", "1/2"):
        n2n_shard(settings, folder, "--out", "gs://bucket/set", "--part", part)
    n2n_shard(settings, folder, "--out", "gs://bucket/set", "--finish")
    with pytest.MonkeyPatch.context() as patch:
        for name in set(settings) - set(os.environ) | {"no_proxy"}:
            patch.setenv(name, settings[name])
        patch.setattr("fsspec.config.conf", {"gs": {"token": "anon"}, "gcs": {"token": "anon"}})
        there = {path.name: path.read_bytes() for path in Remote("gs://bucket/set").iterdir()}
    assert there == folder_bytes(tmp_path / "here")
    shard = load_index(tmp_path / "here").shards[1].name
    n2n_shard(settings, f"gs://bucket/set/{shard}", "--out", tmp_path / "from-there")
    n2n_shard(settings, tmp_path / "here" / shard, "--out", tmp_path / "from-here")
    assert folder_bytes(tmp_path / "from-there") == folder_bytes(tmp_path / "from-here")
