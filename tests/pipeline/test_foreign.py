"""Tars that others wrote are sets like ours from their first use on: nothing lost, and only pictures taken."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from webdataset import ShardWriter

from pipeline import foreign, inspect
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.foreign import LOCK, RECORD, indexed
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.pages.contact_sheet import thumbnails
from pipeline.pairs import PairsConfig
from pipeline.picture import decode
from pipeline.reader import ShardSet
from pipeline.verify import verify
from tests.conftest import ROOT, environment, stamped

COUNT = 20
pytestmark = pytest.mark.filterwarnings("ignore")  # webdataset's own


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def save_tar(path: Path, members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def samples(jpeg: bytes) -> dict[str, bytes]:
    """Picture files by name, no two with the same bytes."""
    return {f"{number:05d}.jpg": stamped(jpeg, number) for number in range(COUNT)}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(params=["webdataset", "tar", "pax", "subfolders"])
def tars(request: pytest.FixtureRequest, tmp_path: Path, samples: dict[str, bytes]) -> Path:
    """The samples in two tars, by webdataset's writer, which adds a header with a fractional time to each member, by
    GNU tar, and with names that only extended headers hold."""
    folder = tmp_path / "set"
    folder.mkdir()
    if request.param == "webdataset":
        with ShardWriter(str(folder / "%03d.tar"), maxcount=COUNT // 2, verbose=0) as writer:
            for name, data in samples.items():
                writer.write({"__key__": name.removesuffix(".jpg"), "jpg": data, "cls": b"7", "txt": "x"})
        assert b" mtime=" in (folder / "000.tar").read_bytes()
        return folder
    loose = tmp_path / "loose"
    for number, (name, data) in enumerate(samples.items()):
        half = loose / str(2 * number // COUNT)
        path = half / ("n" * 90) / ("\u00e4" * 40) / name if request.param == "pax" else half / name
        path = half / "class.a" / name if request.param == "subfolders" else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.with_suffix(".json").write_text("{}")
    form = "pax" if request.param == "pax" else "gnu"
    for half in (0, 1):
        words = ["tar", f"--format={form}", "--sort=name", "-cf", folder / f"{half}.tar", "-C", loose / str(half), "."]
        subprocess.run(words, check=True)
    return folder


def test_they_are_read_like_our_own(tars: Path, samples: dict[str, bytes]) -> None:
    opened = ShardSet(indexed(tars))
    assert opened.folder == tars
    assert [opened.read(sample).data for sample in range(COUNT)] == list(samples.values())
    assert (opened.pixels(3) == decode(samples["00003.jpg"], "").pixels).all()
    assert opened.samples_per_shard == [COUNT // 2] * 2
    assert verify(tars) == []
    assert [thumbnail.source for thumbnail in thumbnails(opened, 2)] == [opened.index.shards[0].name] * 2


def test_pairs_of_them_are_those_of_our_own_set(tars: Path) -> None:
    """Order, noise and crops, by workers and without."""
    config = PairsConfig(crop=16), CorruptionConfig(), 0, LoaderConfig(workers=2)
    pairs = open_pairs(indexed(tars), *config)
    batch, _ = next(load_pairs(pairs, BatchShare(8, 0, 1), LoaderConfig(workers=2), start=COUNT - 4))
    one_by_one = [pairs.batch([draw]).source for draw in range(COUNT - 4, COUNT + 4)]
    assert torch.equal(batch.source, torch.cat(one_by_one))


def test_they_are_indexed_once_and_again_when_they_change(
    tmp_path: Path, samples: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    save_tar(folder / "a.tar", samples)
    save_tar(folder / "empty.tar", {})
    indexed(folder)
    assert f"indexed {COUNT} pictures of 2 tars" in capsys.readouterr().err
    first = (folder / "index.json").stat().st_mtime_ns
    indexed(folder)
    assert (folder / "index.json").stat().st_mtime_ns == first
    time.sleep(0.01)
    save_tar(folder / "a.tar", dict(list(samples.items())[1:]))
    assert len(ShardSet(indexed(folder))) == COUNT - 1
    save_tar(folder / "b.tar", samples)
    assert len(ShardSet(indexed(folder))) == 2 * COUNT - 1
    (folder / "index.json").unlink()  # as where a second indexing was killed
    assert len(ShardSet(indexed(folder))) == 2 * COUNT - 1


def test_what_of_a_sample_is_its_picture(tmp_path: Path, jpeg: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    png, pixels = io.BytesIO(), np.arange(3 * 8 * 9, dtype=np.uint8).reshape(3, 8, 9)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(png, "PNG")
    deep = pixels.astype(np.uint16) * 257
    good = {
        "a.jpg": jpeg,
        "a.seg.png": png.getvalue(),  # not the picture where there is a plain one
        "a.json": b"{}",
        "b.txt": b"x",
        "b.image.PNG": png.getvalue(),
        "c.npy": npy(pixels),
        "d.npy": npy(deep),
        "folder.x/d.jpg": jpeg,  # of another key than d
        "._a.jpg": b"not a picture",
        "scene.v1.jpg": jpeg,  # one key, as webdataset has it
    }
    bad = {
        "e.jpg": (jpeg, "several"),
        "e.png": (png.getvalue(), ""),
        "f.left.png": (png.getvalue(), "several"),
        "f.right.png": (png.getvalue(), ""),
        "g.wav": (b"x", "pictureless"),
        "h.npy": (npy(pixels.transpose(1, 2, 0)), "unreadable"),
        "i.npy": (npy(np.asfortranarray(pixels)), "unreadable"),
        "j.npy": (npy(deep.astype(">u2")), "unreadable"),
        "k.npy": (npy(pixels.astype(np.float32)), "unreadable"),
        "l.jpg": (jpeg[: len(jpeg) // 2], "unreadable"),
        "m.webp": (b"", "unreadable"),
        "n.npy": (npy(pixels)[:-1], "unreadable"),
    }
    many = {f"z{number}.jpg": stamped(jpeg, number) for number in range(800)}
    save_tar(tmp_path / "set" / "a.tar", {**good, **{name: data for name, (data, _) in bad.items()}, **many})
    opened = ShardSet(indexed(tmp_path / "set"))
    names = [str(opened.read(sample)).rpartition("(")[2] for sample in range(6)]
    assert names == ["a.jpg)", "b.image.PNG)", "c.npy)", "d.npy)", "folder.x/d.jpg)", "scene.v1.jpg)"]
    assert (opened.pixels(2) == pixels).all()
    assert (opened.pixels(3) == deep).all()
    left_out = {lost.source.rpartition("/")[2][0]: lost.kind for lost in opened.index.left_out}
    assert left_out == {name[0]: kind for name, (_, kind) in bad.items() if kind}
    assert len(opened) == 806
    assert "1 pictureless, 2 several, 7 unreadable" in capsys.readouterr().err


def test_links_and_tars_within_are_no_pictures(tmp_path: Path, samples: dict[str, bytes]) -> None:
    folder = tmp_path / "set"
    save_tar(folder / "a.tar", samples)
    with tarfile.open(folder / "b.tar", "w") as archive:
        link = tarfile.TarInfo("x.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(BadInput, match=r"(?s)too many unreadable.*b\.tar/x\.jpg: a link.*--max-bad"):
        indexed(folder)
    shutil.rmtree(folder)
    save_tar(tmp_path / "inner.tar", samples)
    save_tar(folder / "a.tar", {"inner.tar": (tmp_path / "inner.tar").read_bytes()})
    with pytest.raises(BadInput, match=r"(?s)no picture in these tars.*no picture: tar.*n2n shard"):
        indexed(folder)
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "a.tar"]


def damaged(data: bytes) -> dict[str, bytes]:
    """A tar of 20 samples, as it befalls them."""
    half = 20 * 512 + data[20 * 512 :].index(b"ustar") - 257  # where a member begins
    flipped = bytearray(data)
    flipped[half + 20] ^= 1
    return {
        "cut between members": data[:half],
        "cut within a header": data[: half + 100],
        "cut within a picture": data[: half + 700],
        "a flipped bit in a header": bytes(flipped),
        "a hole": data[:half] + bytes(512) + data[half + 512 :],
        "two in one": data + data,
        "nothing": b"",
        "something else": b"\xff\xd8" * 5000,
    }


@pytest.mark.parametrize("how", damaged(bytes(20 * 512) + b" " * 257 + b"ustar" + bytes(9000)))
def test_a_damaged_tar_is_told_and_never_cut_short(tmp_path: Path, samples: dict[str, bytes], how: str) -> None:
    folder = tmp_path / "set"
    save_tar(folder / "a.tar", samples)
    save_tar(folder / "b.tar", samples)
    (folder / "b.tar").write_bytes(damaged((folder / "b.tar").read_bytes())[how])
    with pytest.raises(BadInput, match=r"b\.tar at byte"):
        indexed(folder)
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "a.tar", "b.tar"]


def test_what_is_no_folder_of_tars_is_left_alone(tmp_path: Path, samples: dict[str, bytes], shards: Path) -> None:
    assert indexed(shards) == shards
    assert not (shards / RECORD).exists()
    assert str(indexed("s3://bucket/set")) == "s3:/bucket/set"
    for names in (["a.txt"], ["a.tar", "b.jpg"], [".hidden.tar"]):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"x")
        assert indexed(folder) == folder
        with pytest.raises(BadInput, match=r"(?s)no index\.json.*one of WebDataset tars"):
            ShardSet(folder)
    unfinished = tmp_path / "unfinished"
    save_tar(unfinished / "a.tar", samples)
    (unfinished / ".work").mkdir()
    with pytest.raises(BadInput, match="same `n2n shard` command again"):
        ShardSet(indexed(unfinished))
    save_tar(tmp_path / "packed" / "a.tar", samples)
    (tmp_path / "packed" / "b.tar.gz").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"(?s)compressed.*gunzip"):
        indexed(tmp_path / "packed")


def test_a_folder_that_may_not_be_written_to(
    commoner: Path, samples: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, home = commoner / "set", commoner / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    save_tar(folder / "a.tar", samples)
    folder.chmod(0o500)
    place = indexed(folder)
    assert place.is_relative_to(home / ".cache/noise2noise/sets")
    assert [path.name for path in folder.iterdir()] == ["a.tar"]
    assert ShardSet(place).read(3).data == samples["00003.jpg"]
    assert indexed(folder) == place
    folder.chmod(0o700)
    save_tar(folder / "a.tar", dict(list(samples.items())[1:]))
    folder.chmod(0o500)
    assert indexed(folder) != place
    shutil.rmtree(home / ".cache")
    home.chmod(0o500)
    save_tar(commoner / "other" / "a.tar", samples)
    (commoner / "other").chmod(0o500)
    with pytest.raises(BadInput, match=r"(?s)written nowhere.*Permission denied"):
        indexed(commoner / "other")


def test_an_index_of_other_tools_is_not_touched(tmp_path: Path, samples: dict[str, bytes], home: Path) -> None:
    save_tar(tmp_path / "set" / "a.tar", samples)
    said = json.dumps({"wids_version": 1, "shardlist": [{"url": "a.tar", "nsamples": COUNT}]})
    (tmp_path / "set" / "index.json").write_text(said)
    assert len(ShardSet(indexed(tmp_path / "set"))) == COUNT
    assert (tmp_path / "set" / "index.json").read_text() == said


@pytest.mark.parametrize("several", [False, True])
def test_processes_that_come_at_once_index_once(tmp_path: Path, samples: dict[str, bytes], several: bool) -> None:
    """Also where each would go through the tars with processes of its own."""
    folder = tmp_path / "set"
    for number in range(3):
        save_tar(folder / f"{number}.tar", {f"{k}{name}": data for k in range(40) for name, data in samples.items()})
    code = f"""
from pipeline import foreign
from pipeline.reader import ShardSet
if __name__ == "__main__":
    foreign.ALONE = {0 if several else foreign.ALONE}
    print(ShardSet(foreign.indexed({str(folder)!r})).index.samples_sha256)
"""
    (tmp_path / "first_use.py").write_text(code)
    words = [sys.executable, str(tmp_path / "first_use.py")]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment(), "cwd": ROOT}
    started = [subprocess.Popen(words, **options) for _ in range(3)]  # type: ignore[call-overload]
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    assert sorted(error.count(f"indexed {3 * 40 * COUNT:,} pictures") for _, error in said) == [0, 0, 1]


def test_inspect_shows_and_verifies_them(
    tmp_path: Path, samples: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    save_tar(folder / "a.tar", samples)
    inspect.main([str(folder), "--verify", "--html", str(tmp_path / "page.html")])
    told = capsys.readouterr().out
    assert f"{COUNT} samples in 1 shards" in told
    assert "every checksum is right" in told
    assert "00003.jpg" in (tmp_path / "page.html").read_text()
    opened = ShardSet(folder)
    data, times = bytearray((folder / "a.tar").read_bytes()), (folder / "a.tar").stat()
    data[int(opened.table[3]["offset"]) + 300] ^= 1
    (folder / "a.tar").write_bytes(data)
    os.utime(folder / "a.tar", ns=(times.st_atime_ns, times.st_mtime_ns))  # as damage does, not as people do
    with pytest.raises(SystemExit):
        inspect.main([str(folder), "--verify"])
    assert "sample 3 (00003.jpg)" in capsys.readouterr().out
