"""Where W&B goes without being asked."""

import logging
import socket
import time
from pathlib import Path

import pytest

from launch.tracking import Tracker, WandbConfig, has_key, usable_mode


def test_a_key_is_found_where_login_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    assert not has_key("example.org")
    netrc.write_text("machine example.org login user password secret\n")
    assert has_key("example.org")
    assert not has_key("example.com")


def test_without_a_key_online_becomes_offline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")
    with caplog.at_level(logging.WARNING):
        assert usable_mode("online") == "offline"
    assert "no key" in caplog.text


def test_without_a_network_online_becomes_offline_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    listener = socket.create_server(("127.0.0.1", 0))  # a port that nobody serves once it is closed
    port = listener.getsockname()[1]
    listener.close()
    monkeypatch.setattr("launch.tracking.server_address", lambda: ("127.0.0.1", port))
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert usable_mode("online") == "offline"
    assert "cannot be reached" in caplog.text
    assert time.monotonic() - began < 10


def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """It takes connections and says nothing, as some firewalls do; the run is tracked offline all the same."""
    with socket.create_server(("127.0.0.1", 0)) as silent, caplog.at_level(logging.WARNING):
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("launch.tracking.INIT_TIMEOUT_S", 3.0)
        began = time.monotonic()
        tracker = Tracker(WandbConfig(mode="online"), tmp_path, {}, "")
        tracker.log({"images": 1, "train/loss": 2.0})
        tracker.finish()
        assert time.monotonic() - began < 60
    assert "tracked offline" in caplog.text
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
