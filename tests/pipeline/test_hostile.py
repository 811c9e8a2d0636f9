"""Sources made to harm: refused with the reason, in bounded memory, and nothing is written but the set."""

import io
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.index import load_index
from tests.conftest import Run, environment, stamped
from tests.pipeline.sharding.test_ingest import bomb

MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(done.returncode)
"""


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    archive.addfile(info, io.BytesIO(data))


def lying_zip(path: Path) -> None:
    """600 MB of zeros under a header that says a megabyte."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("lie.jpg", "w") as member:
        for _ in range(600):
            member.write(bytes(1 << 20))
    path.write_bytes(file.getvalue().replace(struct.pack("<I", 600 << 20), struct.pack("<I", 1 << 20)))


def make_hostile(folder: Path, jpeg: bytes) -> None:
    (folder / "bomb.png").write_bytes(bomb())
    lying_zip(folder / "lie.zip")
    with zipfile.ZipFile(folder / "huge.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.bmp", bytes(300 << 20))
        archive.writestr("../../escape.jpg", stamped(jpeg, 100))
    deep = jpeg
    for _ in range(30):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            add(archive, "deeper.tar", deep)
        deep = file.getvalue()
    with tarfile.open(folder / "tar.tar", "w") as archive:
        add(archive, "deeper.tar", deep)
        for name in ("/etc/absolute.jpg", "../../../escape.jpg", "a/../../../escape.jpg"):
            add(archive, name, stamped(jpeg, 101))
        add(archive, "link.jpg", kind=tarfile.SYMTYPE, link="/etc/passwd")
        add(archive, "hard.jpg", kind=tarfile.LNKTYPE, link="../../escape.jpg")
        add(archive, "device.jpg", kind=tarfile.BLKTYPE)


def peak_mb(*arguments: object) -> int:
    command = [sys.executable, "-c", MEASURE, sys.executable, "-m", "pipeline.shard", *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def test_hostile_sources_are_refused_in_bounded_memory_and_write_nothing_elsewhere(jpeg: bytes, tmp_path: Path) -> None:
    good, bad = tmp_path / "x" / "good", tmp_path / "x" / "bad"
    for folder in (good, bad):
        folder.mkdir(parents=True)
    for number in range(5):
        (good / f"{number}.jpg").write_bytes(stamped(jpeg, number))
    options = ("--max-bad", "1", "--workers", "1")
    usual = peak_mb(good, "--out", tmp_path / "usual", *options)
    make_hostile(bad, jpeg)
    before = {path for path in tmp_path.rglob("*")}
    archives = sorted(bad.glob("*.*[rp]"))
    peak = peak_mb(good, bad, *archives, "--out", tmp_path / "x" / "set", *options)
    assert peak < usual + 150, f"{peak} MB, {usual} MB without them"
    new = {path for path in tmp_path.rglob("*") if path not in before}
    assert all(path.is_relative_to(tmp_path / "x" / "set") for path in new)
    index = load_index(tmp_path / "x" / "set")
    assert index.samples == 5
    reasons = {lost.source.rpartition("/")[2]: lost.reason for lost in index.left_out}
    told = {"bomb.png": "pixels", "bomb.bmp": "a bomb", "lie.jpg": "damaged in the archive", "device.jpg": "a device"}
    told |= {
        "link.jpg": "a link",
        "hard.jpg": "a link",
        "absolute.jpg": "absolute name",
        "deeper.tar": "archive inside",
    }
    told |= {"escape.jpg": "climbs out"}
    for name, reason in told.items():
        assert reason in reasons[name], reasons


@pytest.mark.parametrize("prefix", ["pipe:", "pipe://", "file:///", "shell:", "|"])
def test_shell_addresses_run_nothing(run_verb: Run, tmp_path: Path, prefix: str) -> None:
    """webdataset runs what follows `pipe:` in a shell. Here it is a name, as a source, in a list and in the output."""
    command = f"{prefix}touch {tmp_path}/ran; echo x.jpg"
    (tmp_path / "list.txt").write_text(command + "\n")
    for arguments in ([command, "--out", "out"], ["--list", "list.txt", "--out", "out"]):
        done = run_verb("pipeline.shard", *arguments)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"list.txt"}
