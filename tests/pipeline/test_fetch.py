"""Downloads from a real server on this machine, which drops, delays, refuses, lies and changes its mind."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline import fetch as verb
from pipeline.errors import BadInput
from pipeline.fetch import ARCHIVES, Archive, check_zip, fetch
from pipeline.remote.download import Patience, Version, load_version
from pipeline.remote.download import download as download_with

ROOT = Path(__file__).parents[2]
HASTY = Patience(tries=4, progress_bytes=1, wait_s=0.001, timeout_s=10)


def zip_bytes(seed: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(4):
            archive.writestr(f"val2017/{number:012d}.jpg", bytes((seed + number + i * i) % 251 for i in range(50_000)))
    return file.getvalue()


ZIP, OTHER = zip_bytes(), zip_bytes(7)


class Fault(NamedTuple):
    """What one answer does wrong."""

    drop_after: int | None = None
    status: int = 0
    delay_s: float = 0
    short_by: int = 0
    ignore_range: bool = False
    retry_after: str = ""


@dataclass
class Site:
    """What the server has, what it does wrong next, and what it was asked."""

    data: bytes = ZIP
    etag: str = '"1"'
    modified: str = ""
    ranges: bool = True
    honours_if_range: bool = True
    sends_length: bool = True
    trickle_s: float = 0
    faults: list[Fault] = field(default_factory=list)
    always: Fault = field(default_factory=Fault)
    asked: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[int], None] = lambda request: None
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        site, headers = self.site, self.headers
        site.before(len(site.asked))
        site.asked.append((headers.get("Range", ""), headers.get("If-Range", "")))
        fault = site.faults.pop(0) if site.faults else site.always
        time.sleep(fault.delay_s)
        if fault.status:
            self.send_response(fault.status)
            if fault.retry_after:
                self.send_header("Retry-After", fault.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self.start_of_answer(fault)
        if start and start >= len(site.data):
            self.send_error(416)
            return
        self.send_file(start, fault)

    def start_of_answer(self, fault: Fault) -> int:
        asked, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
        if not asked or fault.ignore_range or not self.site.ranges:
            return 0
        if condition and self.site.honours_if_range and condition not in (self.site.etag, self.site.modified):
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def send_file(self, start: int, fault: Fault) -> None:
        data = self.site.data
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if self.site.sends_length:
            self.send_header("Content-Length", str(len(data) - start))
        for name, value in (("ETag", self.site.etag), ("Last-Modified", self.site.modified)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        body = data[start : len(data) - fault.short_by]
        if fault.drop_after is not None:
            body = body[: fault.drop_after]
        for place in range(0, len(body), 10_000):
            self.wfile.write(body[place : place + 10_000])
            time.sleep(self.site.trickle_s)
        self.wfile.flush()
        self.close_connection = True


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(urllib.request, "_opener", None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site})) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that was killed hangs up
        site.url = f"http://127.0.0.1:{server.server_port}/val2017.zip"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


def download(site: Site, path: Path, size: int | None = None, patience: Patience = HASTY) -> None:
    download_with(site.url, path, check_zip, size, patience)


def starts(site: Site) -> list[int]:
    return [int(asked.removeprefix("bytes=").rstrip("-") or 0) for asked, _ in site.asked]


def test_a_file_arrives_whole_and_alone(site: Site, tmp_path: Path) -> None:
    download(site, tmp_path / "new" / "a.zip", len(ZIP))
    assert (tmp_path / "new" / "a.zip").read_bytes() == ZIP
    assert os.listdir(tmp_path / "new") == ["a.zip"]


def test_dropped_connections_go_on_where_they_were(site: Site, tmp_path: Path) -> None:
    site.faults = [Fault(drop_after=30_000)] * 6
    download(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert starts(site) == [30_000 * n for n in range(7)]
    assert {condition for _, condition in site.asked[1:]} == {'"1"'}


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(status=500), Fault(status=429), Fault(delay_s=0.6), Fault(short_by=999)]
)
def test_passing_failures_pass(site: Site, tmp_path: Path, fault: Fault) -> None:
    site.faults = [fault, Fault(drop_after=70_000), fault]
    download(site, tmp_path / "a.zip", patience=replace(HASTY, tries=6, timeout_s=0.3 if fault.delay_s else 10))
    assert (tmp_path / "a.zip").read_bytes() == ZIP


def test_the_server_says_how_long_to_wait(site: Site, tmp_path: Path) -> None:
    site.faults = [Fault(status=503, retry_after="1")]
    began = time.monotonic()
    download(site, tmp_path / "a.zip")
    assert time.monotonic() - began >= 1


def test_failures_end(site: Site, tmp_path: Path) -> None:
    site.faults = [Fault(drop_after=30_000)]
    site.always = Fault(status=503)
    with pytest.raises(BadInput, match="503") as failed:
        download(site, tmp_path / "a.zip")
    assert "same command" in str(failed.value)
    assert site.url in str(failed.value)
    assert len(site.asked) == 4
    assert not (tmp_path / "a.zip").exists()
    site.always = Fault()
    download(site, tmp_path / "a.zip")
    assert starts(site)[-1] == 30_000


def test_a_server_without_ranges_that_always_drops_has_an_end(site: Site, tmp_path: Path) -> None:
    site.ranges, site.always = False, Fault(drop_after=50_000)
    with pytest.raises(BadInput, match="keeps failing"):
        download(site, tmp_path / "a.zip")
    assert len(site.asked) <= 5


def test_a_server_that_ignores_ranges_restarts(site: Site, tmp_path: Path) -> None:
    site.faults = [Fault(drop_after=30_000), Fault(ignore_range=True, drop_after=10_000)]
    download(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert starts(site) == [0, 30_000, 10_000]


@pytest.mark.parametrize("honours_if_range", [True, False])
@pytest.mark.parametrize("other", [OTHER, OTHER[:20_000], OTHER + bytes(9)])
def test_a_file_that_changes_on_the_server_is_not_mixed(
    site: Site, tmp_path: Path, honours_if_range: bool, other: bytes
) -> None:
    def change(request: int) -> None:
        if request == 1:
            site.data, site.etag = other, '"2"'

    site.honours_if_range, site.before = honours_if_range, change
    site.faults = [Fault(drop_after=30_000)]
    path = tmp_path / "a.zip"
    if len(other) < 30_000:
        with pytest.raises(BadInput, match="not a whole zip"):
            download(site, path)
        assert os.listdir(tmp_path) == []
        return
    download(site, path)
    assert path.read_bytes() == other


@pytest.mark.parametrize(("etag", "modified"), [("", ""), ("", "Sun, 01 Jan 2017 00:00:00 GMT"), ('W/"1"', "")])
def test_servers_with_weak_or_no_versions(site: Site, tmp_path: Path, etag: str, modified: str) -> None:
    site.etag, site.modified, site.faults = etag, modified, [Fault(drop_after=30_000)]
    download(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == ZIP
    assert site.asked == [("", ""), ("bytes=30000-", modified)]


def test_a_server_that_says_no_size(site: Site, tmp_path: Path) -> None:
    site.sends_length, site.faults = False, [Fault(drop_after=30_000)]
    download(site, tmp_path / "a.zip", len(ZIP))
    assert (tmp_path / "a.zip").read_bytes() == ZIP


def test_refusals_are_final_and_named(site: Site, tmp_path: Path) -> None:
    site.always = Fault(status=404)
    with pytest.raises(BadInput, match="404"):
        download(site, tmp_path / "a.zip")
    assert len(site.asked) == 1


def test_a_file_of_another_size_than_published_is_refused_unread(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="another file than the published one"):
        download(site, tmp_path / "a.zip", 12345)
    assert not list(tmp_path.glob("a.zip*"))


def test_a_full_disk_is_known_before(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 100_000))  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="not enough room"):
        download(site, tmp_path / "a.zip")
    # A part that is there counts: 30,000 bytes are missing.
    (tmp_path / "a.zip.partial").write_bytes(ZIP[:-30_000])
    Version(site.url, site.etag, len(ZIP)).save(tmp_path / "a.zip.partial.json")
    download(site, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == ZIP


def test_no_network_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections to it are refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}/val2017.zip"
        with pytest.raises(BadInput, match="cannot be reached") as failed:
            download_with(url, tmp_path / "a.zip", check_zip, None, HASTY)
    assert f"put it at {tmp_path / 'a.zip'}" in str(failed.value)
    assert "another machine" in str(failed.value)


def test_damage_is_found_and_does_not_stay(site: Site, tmp_path: Path) -> None:
    site.data = ZIP[:60_000] + bytes([ZIP[60_000] ^ 1]) + ZIP[60_001:]
    with pytest.raises(BadInput, match="not a whole zip"):
        download(site, tmp_path / "a.zip")
    assert os.listdir(tmp_path) == []


def test_a_part_of_unknown_origin_is_not_trusted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.zip.partial").write_bytes(b"?" * 1000)
    (tmp_path / "a.zip.partial.json").write_text("{")
    download(site, tmp_path / "a.zip")
    assert starts(site) == [0]
    assert (tmp_path / "a.zip").read_bytes() == ZIP


def test_a_proxy_of_the_environment_is_used(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(urllib.request, "_opener", None)  # which has remembered the proxies of its first use
    monkeypatch.setenv("http_proxy", site.url.rpartition("/")[0])
    download_with("http://pictures.invalid/val2017.zip", tmp_path / "a.zip", check_zip, None, HASTY)
    assert (tmp_path / "a.zip").read_bytes() == ZIP


def command(site: Site, out: Path) -> list[str]:
    code = (
        "import sys; from pipeline import fetch; from pipeline.errors import run_verb\n"
        "fetch.ARCHIVES['coco-val2017'] = fetch.Archive(sys.argv[1])\n"
        "run_verb(lambda: fetch.main(['coco-val2017', '--out', sys.argv[2]]))"
    )
    return [sys.executable, "-c", code, site.url, str(out)]


def test_a_killed_download_goes_on_with_the_same_command(site: Site, tmp_path: Path) -> None:
    site.trickle_s = 0.05
    partial = tmp_path / "val2017.zip.partial"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command(site, tmp_path), env=environment, stderr=subprocess.DEVNULL) as process:
        while not (partial.exists() and partial.stat().st_size > 20_000):
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(BadInput, match="another process"):
            download(site, tmp_path / "val2017.zip")
        process.send_signal(signal.SIGKILL)
    kept = partial.stat().st_size
    assert load_version(partial.with_name(partial.name + ".json")) == Version(site.url, '"1"', len(ZIP))
    site.trickle_s = 0
    done = subprocess.run(command(site, tmp_path), env=environment, capture_output=True, text=True, check=True)
    assert "next: n2n shard" in done.stdout
    assert starts(site) == [0, kept]
    assert (tmp_path / "val2017.zip").read_bytes() == ZIP
    assert os.listdir(tmp_path) == ["val2017.zip"]


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"something")
    assert not fetch(Archive(site.url), path)
    path.write_bytes(ZIP.replace(b"val2017/000000000001", b"val2017/00000000000x", 1))
    with pytest.raises(BadInput, match="not a whole zip"):
        fetch(Archive(site.url), path, verify=True)
    with pytest.raises(BadInput, match="another file is there"):
        fetch(Archive(site.url, 5), path)
    assert site.asked == []


def test_a_version_survives_its_file(tmp_path: Path) -> None:
    version = Version("http://127.0.0.1/", '"1"', 5)
    version.save(tmp_path / "note")
    assert load_version(tmp_path / "note") == version
    (tmp_path / "note").write_text(json.dumps({"url": 1, "more": 2}))
    assert load_version(tmp_path / "note") is None


def test_imagenet_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="account") as failed:
        verb.main(["imagenet", "--out", str(tmp_path)])
    for words in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "n2n shard", str(tmp_path)):
        assert words in str(failed.value)
    for name in verb.IMAGENET_FILES:
        (tmp_path / name).touch()
    verb.main(["imagenet", "--out", str(tmp_path)])
    assert capsys.readouterr().out.count("n2n shard") == 2


def test_the_catalogue_and_mirrors(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {archive.url.rpartition("/")[2] for archive in ARCHIVES.values()} == {
        f"{part}2017.zip" for part in ("val", "train", "test", "unlabeled")
    }
    monkeypatch.setitem(ARCHIVES, "coco-val2017", Archive(ARCHIVES["coco-val2017"].url, len(ZIP)))
    verb.main(["coco-val2017", "--out", str(tmp_path), "--url", site.url])
    assert (tmp_path / "val2017.zip").read_bytes() == ZIP
    with pytest.raises(BadInput, match="not an address"):
        verb.main(["coco-val2017", "--out", str(tmp_path / "b"), "--url", "ftp://127.0.0.1/a"])
    with pytest.raises(BadInput, match="not an address"):
        verb.main(["coco-val2017", "--out", str(tmp_path / "b"), "--url", "http://127.0.0.1:x/a"])
