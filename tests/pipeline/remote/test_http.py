"""Sources on a web server: ranges, listings, and everything that servers and networks get wrong."""

import multiprocessing
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import load_index
from pipeline.remote import errors as remote_errors
from pipeline.remote.place import Remote, output_place, place
from pipeline.remote.store import sends_ranges
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sources.listing import list_sources
from tests.conftest import folder_bytes, stamped
from tests.pipeline.servers import Site, served

pytest.importorskip("aiohttp")


def make(out: Path, *sources: Path | str, **config: object) -> dict[str, bytes]:
    settings = {"plan": PlanConfig(shard_mb=0.02), **config}
    shard(list_sources(sources), out, ShardConfig(**settings))  # type: ignore[arg-type]
    return folder_bytes(out)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_errors, "WAIT_S", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    sends_ranges.cache_clear()


@pytest.fixture
def site(pictures: Path, jpeg: bytes, tmp_path: Path) -> Iterator[Site]:
    """Pictures with names that addresses make trouble of, and archives of them."""
    folder = Path(shutil.copytree(pictures, tmp_path / "served" / "in"))
    names = ["a b.jpg", "\U0001f4f7.jpg", "50%25 + 1.jpg", "class0/deep/er/q?x=1#y.jpg", "<b>&.jpg"]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(stamped(jpeg, number))
    subprocess.run(["tar", "-cf", folder.parent / "a.tar", "-C", folder, "."], check=True)
    with zipfile.ZipFile(folder.parent / "a.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    with served(folder.parent) as site:
        yield site


@pytest.mark.parametrize("name", ["in", "in/", "a.tar", "a.zip", "in/class1/picture1.jpg"])
def test_the_bytes_are_those_of_a_local_run(site: Site, tmp_path: Path, name: str) -> None:
    assert make(tmp_path / "there", f"{site.url}/{name}") == make(tmp_path / "here", site.folder / name)


def test_signed_addresses_and_patterns(site: Site, tmp_path: Path) -> None:
    here = make(tmp_path / "here", site.folder / "a.zip")
    assert make(tmp_path / "signed", f"{site.url}/a.zip?signature=a/b%2F&expires=1") == here
    pattern = make(tmp_path / "pattern", f"{site.url}/in/class[01]")
    assert pattern == make(tmp_path / "folders", site.folder / "in" / "class[01]")
    with pytest.raises(BadInput, match="nothing fits"):
        make(tmp_path / "x", f"{site.url}/in/none*")


@pytest.mark.parametrize("name", ["in", "a.tar", "a.zip"])
def test_connections_cut_and_servers_that_stumble_change_no_byte(site: Site, tmp_path: Path, name: str) -> None:
    site.faults = [503, -100, 429, 0, -1, 500, 0, 0, -2000, -2000, 408, 0, 504]
    assert make(tmp_path / "there", f"{site.url}/{name}") == make(tmp_path / "here", site.folder / name)
    assert site.faults == []


def test_without_a_second_try_they_would(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_errors, "TRIES", 1)
    site.faults = [0, 500]
    with pytest.raises(BadInput, match="keeps failing"):
        make(tmp_path / "there", f"{site.url}/a.tar")


@pytest.mark.parametrize("fault", [503, -100])
def test_a_server_that_never_recovers_comes_to_an_end(site: Site, tmp_path: Path, fault: int) -> None:
    site.always = fault
    with pytest.raises(BadInput, match=r"keeps failing[^$]*after 6 tries[^$]*it goes on"):
        make(tmp_path / "there", f"{site.url}/in")
    assert site.answers == 6
    assert not (tmp_path / "there").exists()


def test_a_server_that_fails_midway_leaves_a_run_to_go_on_with(site: Site, tmp_path: Path) -> None:
    sources = list_sources([f"{site.url}/a.tar"])
    site.always = 500
    with pytest.raises(BadInput, match="keeps failing"):
        shard(sources, tmp_path / "there", ShardConfig(plan=PlanConfig(shard_mb=0.02), keep_duplicates=True))
    assert not list((tmp_path / "there").glob("*.partial"))
    site.always = 0
    settings = {"keep_duplicates": True}
    here = make(tmp_path / "here", site.folder / "a.tar", **settings)
    assert make(tmp_path / "there", f"{site.url}/a.tar", **settings) == here


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(BadInput, match=r"cannot be reached[^$]*check the address and the network"):
        make(tmp_path / "x", f"http://127.0.0.1:{port}/in")
    with pytest.raises(BadInput, match="cannot be reached"):
        make(tmp_path / "x", "https://no-such-host.invalid/a.zip")


@pytest.mark.parametrize("name", ["in", "a.tar", "a.zip", "in/x.jpg"])
@pytest.mark.parametrize(("status", "message"), [(404, "no such source"), (403, "access denied"), (418, "refuses")])
def test_refusals_are_told_at_once(site: Site, tmp_path: Path, name: str, status: int, message: str) -> None:
    site.refuse = status
    with pytest.raises(BadInput, match=message):
        make(tmp_path / "x", f"{site.url}/{name}")
    assert site.answers <= 4


def test_a_picture_that_is_refused_is_left_out(site: Site, tmp_path: Path) -> None:
    sources = list_sources([f"{site.url}/in"])
    site.faults = [403]
    shard(sources, tmp_path / "set", ShardConfig(max_bad=0.1, keep_duplicates=True))
    (lost,) = load_index(tmp_path / "set").left_out
    assert lost.kind == "unreadable"
    assert "403" in lost.reason


@pytest.mark.parametrize(("name", "status"), [("in", 401), ("a.tar", 403)])
def test_an_account_or_an_archive_that_is_refused_midway_stops_the_run(
    site: Site, tmp_path: Path, name: str, status: int
) -> None:
    sources = list_sources([f"{site.url}/{name}"])
    site.faults = [0, 0, status]
    with pytest.raises(BadInput, match="access denied"):
        shard(sources, tmp_path / "set", ShardConfig(max_bad=1, keep_duplicates=True))
    assert not list((tmp_path / "set").glob("*.tar*"))


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_a_server_without_ranges_serves_pictures_but_no_archives(site: Site, tmp_path: Path, name: str) -> None:
    site.ranges = False
    with pytest.raises(BadInput, match="sends no parts"):
        make(tmp_path / "x", f"{site.url}/{name}")
    assert make(tmp_path / "there", f"{site.url}/in") == make(tmp_path / "here", site.folder / "in")


@pytest.mark.parametrize("change", ["larger", "shorter", "gone"])
def test_a_source_that_changes_after_listing_stops_the_run(site: Site, tmp_path: Path, change: str) -> None:
    sources = list_sources([f"{site.url}/in"])
    victim = site.folder / "in" / "a b.jpg"
    data = victim.read_bytes()
    victim.unlink()
    if change != "gone":
        victim.write_bytes(data + b"x" if change == "larger" else data[:-1])
    with pytest.raises(BadInput, match=r"a source[^$]*a%20b\.jpg"):
        shard(sources, tmp_path / "set", ShardConfig(keep_duplicates=True))


@pytest.mark.parametrize("cut", [100, 1536, 6000])
def test_damaged_archives_are_told_as_here(site: Site, tmp_path: Path, cut: int) -> None:
    for name in ("a.tar", "a.zip"):
        path = site.folder / name
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(BadInput, match="a damaged"):
            make(tmp_path / "x", f"{site.url}/{name}")


def test_folders_in_a_ring_come_to_an_end(site: Site, tmp_path: Path) -> None:
    ring = site.folder / "ring"
    ring.mkdir()
    (ring / "again").symlink_to(ring)
    with pytest.raises(BadInput, match=r"(?s)folders without end|no pictures"):
        make(tmp_path / "x", f"{site.url}/ring")


def test_a_forked_process_reads_on_beside_the_first(site: Site) -> None:
    """As workers of the loader are made; each opens the store for itself, and closes nothing of the other's."""
    picture = Remote(f"{site.url}/in/class1/picture1.jpg")
    expected = (site.folder / "in/class1/picture1.jpg").read_bytes()
    assert picture.read_bytes() == expected
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    children = [context.Process(target=lambda: theirs.send_bytes(picture.read_bytes())) for _ in range(2)]
    try:
        for child in children:
            child.start()
            assert ours.poll(30), "a forked process had no answer"
            assert ours.recv_bytes() == expected
            assert picture.read_bytes() == expected
            child.join(30)
            assert child.exitcode == 0
            assert picture.read_bytes() == expected
    finally:
        for child in children:
            if child.pid is not None:
                child.kill()
                child.join()


def test_addresses() -> None:
    assert place("data/x") == Path("data/x")
    assert place("S3://bucket/a b/") == Remote("s3://bucket/a b")
    assert str(Remote("https://host/x") / "a b?.jpg") == "https://host/x/a%20b%3F.jpg"
    assert Remote("https://host/x/a%20b.jpg?sig=1").name == "a b.jpg"
    for text in ("ftp://host/x", "file:///etc", "s3://", "memory://x", "simplecache::s3://b/x"):
        if "::" in text:
            assert place(text) == Path(text)
        else:
            with pytest.raises(BadInput, match="not an address"):
                place(text)
    with pytest.raises(BadInput, match="nothing can be written"):
        output_place("http://host/x")
