"""The verb: the same bytes for any number of workers and interruptions, and one message for everything else."""

import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.index import load_index
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, main, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources
from pipeline.verify import verify
from tests.conftest import Run, environment, folder_bytes, stamped

ARGUMENTS = ("--shard-mb", "0.05")


def make(out: Path, *sources: Path | str, **config: object) -> None:
    settings = {"plan": PlanConfig(shard_mb=0.05), **config}
    shard(list_sources(sources), out, ShardConfig(**settings))  # type: ignore[arg-type]


def abouts(folder: Path) -> list[dict[str, object]]:
    """KEY.json of every sample, read with tar as anyone would."""
    read = []
    for path in sorted(folder.glob("*.tar")):
        done = subprocess.run(["tar", "-xOf", path, "--wildcards", "*.json"], capture_output=True, check=True)
        read += [json.loads(line) for line in done.stdout.decode().replace("}{", "}\n{").splitlines()]
    return read


@pytest.fixture(scope="module")
def straight(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted run with one worker."""
    out = tmp_path_factory.mktemp("straight") / "set"
    make(out, many)
    return folder_bytes(out)


def test_a_set_has_every_picture_and_nothing_of_the_work(straight: dict[str, bytes]) -> None:
    index = json.loads(straight["index.json"])
    assert index["samples"] == 1000
    assert len(index["shardlist"]) > 10
    names = {entry["url"] for entry in index["shardlist"]}
    assert set(straight) == names | {name[:-4] + ".idx" for name in names} | {"index.json", "samples.npy"}


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_change_no_byte(many: Path, straight: dict[str, bytes], tmp_path: Path, workers: int) -> None:
    make(tmp_path / "set", many, workers=workers)
    assert folder_bytes(tmp_path / "set") == straight


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_and_run_again_is_never_killed(
    many: Path, straight: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "set"
    kill_and_finish([many, "--out", out, *ARGUMENTS, "--workers", str(workers)], out, seed=workers)
    assert folder_bytes(out) == straight


def kill_and_finish(arguments: list[object], out: Path, seed: int) -> None:
    """Kill the verb three times at random moments once it writes, then let it finish."""
    command = [sys.executable, "-m", "pipeline.shard", *map(str, arguments)]
    moments = random.Random(seed)
    killed = 0
    for _ in range(3):
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while process.poll() is None and not any(out.glob("*.tar*")):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.15))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert (out / "index.json").exists() == (process.returncode == 0)
    assert killed
    subprocess.run(command, env=environment(), check=True, capture_output=True)


def test_ctrl_c_finishes_nothing_half_and_says_how_to_go_on(
    many: Path, straight: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    command = [sys.executable, "-m", "pipeline.shard", many, "--out", out, *ARGUMENTS, "--workers", "2"]
    options = {"env": environment(), "stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **options)  # type: ignore[call-overload]
    while process.poll() is None and not any(out.rglob("shard-*")):  # the first is begun
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "run the same command again" in stderr
    assert "Traceback" not in stderr
    assert not (out / "index.json").exists()
    assert not list(out.glob("*.partial"))
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert folder_bytes(out) == straight


def test_run_again_changes_nothing(many: Path, tmp_path: Path) -> None:
    make(tmp_path / "set", many)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make(tmp_path / "set", many)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_killed_after_the_index_but_before_the_end_leaves_no_work_behind(
    many: Path, straight: dict[str, bytes], tmp_path: Path
) -> None:
    make(tmp_path / "set", many)
    (tmp_path / "set" / ".work").mkdir()
    (tmp_path / "set" / ".work" / "plan.json").write_text("{}")
    make(tmp_path / "set", many)
    assert folder_bytes(tmp_path / "set") == straight


def test_the_folder_of_another_set_is_left_alone(many: Path, pictures: Path, tmp_path: Path) -> None:
    make(tmp_path / "set", many)
    with pytest.raises(BadInput, match=r"already holds another set[^$]*sources is 12, was 1000"):
        make(tmp_path / "set", pictures)
    with pytest.raises(BadInput, match="seed is 1, was 0"):
        make(tmp_path / "set", many, plan=PlanConfig(shard_mb=0.05, seed=1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(BadInput, match="not empty"):
        make(tmp_path / "other", many)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_two_writers_of_one_part_are_one_too_many(many: Path, tmp_path: Path) -> None:
    import fcntl

    work = tmp_path / "set" / ".work"
    work.mkdir(parents=True)
    with open(work / "part-0-of-1.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadInput, match="another process"):
            make(tmp_path / "set", many)


def copy_some(many: Path, folder: Path) -> Path:
    return Path(shutil.copytree(many / "class0", folder / "own"))


@pytest.mark.parametrize("change", ["larger", "shorter", "gone"])
def test_a_source_that_changes_after_listing_stops_the_run(many: Path, tmp_path: Path, change: str) -> None:
    folder = copy_some(many, tmp_path)
    sources = list_sources([folder])
    victim = folder / "500.jpg"
    data = victim.read_bytes()
    victim.unlink()
    if change != "gone":
        victim.write_bytes(data + b"x" if change == "larger" else data[:-1])
    with pytest.raises(BadInput, match=r"a source[^$]*500\.jpg"):
        shard(sources, tmp_path / "set", ShardConfig(plan=PlanConfig(shard_mb=0.05)))
    assert not list((tmp_path / "set").glob("*.partial"))
    with pytest.raises(BadInput, match="unfinished work of another command"):
        make(tmp_path / "set", folder)


def test_strange_names_come_through(jpeg: bytes, tmp_path: Path) -> None:
    names = [b"a b.jpg", "\U0001f4f7.jpg".encode(), b"new\nline.jpg", b"\xff.jpg", b"l" * 251 + b".jpg"]
    (tmp_path / "in").mkdir()
    for number, name in enumerate(names):
        with open(os.fsencode(tmp_path / "in") + b"/" + name, "wb") as file:
            file.write(stamped(jpeg, number))
    make(tmp_path / "set", tmp_path / "in")
    expected = {"a b.jpg", "\U0001f4f7.jpg", "new\nline.jpg", r"\xff.jpg", "l" * 251 + ".jpg"}
    assert {about["source"] for about in abouts(tmp_path / "set")} == expected


def test_two_sources_of_equal_names_both_get_in(jpeg: bytes, tmp_path: Path) -> None:
    for number, root in enumerate(("x", "y")):
        (tmp_path / root / "a").mkdir(parents=True)
        (tmp_path / root / "a" / "1.jpg").write_bytes(stamped(jpeg, number))
    make(tmp_path / "set", tmp_path / "x", tmp_path / "y")
    assert {about["source"] for about in abouts(tmp_path / "set")} == {"x/a/1.jpg", "y/a/1.jpg"}


def test_what_cannot_train_is_left_out_with_the_reason(many: Path, jpeg: bytes, tmp_path: Path) -> None:
    folder = copy_some(many, tmp_path)
    (folder / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.jpg").touch()
    (folder / "twin.jpg").write_bytes((folder / "500.jpg").read_bytes())
    (folder / "broken\n.jpg").symlink_to("nowhere")
    with pytest.raises(BadInput, match=r"too many unreadable pictures[^$]*4 of 105 left out[^$]*max-bad"):
        make(tmp_path / "set", folder)
    make(tmp_path / "set", folder, max_bad=0.05)
    index = load_index(tmp_path / "set")
    assert index.samples == 100
    assert {(lost.source, lost.kind) for lost in index.left_out} == {
        ("half.jpg", "unreadable"),
        ("text.jpg", "unreadable"),
        ("empty.jpg", "unreadable"),
        ("broken\n.jpg", "unreadable"),
        ("twin.jpg", "duplicate"),
    }
    (reason,) = [lost.reason for lost in index.left_out if lost.kind == "duplicate"]
    assert reason == "equal to 500.jpg"


def test_pictures_too_small_are_left_out_and_not_counted_as_bad(many: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no readable picture[^$]*48 x 48"):
        make(tmp_path / "set", many / "class0", storage=StorageConfig(min_side=49))
    shutil.rmtree(tmp_path / "set")
    make(tmp_path / "set", many / "class0", storage=StorageConfig(min_side=48))
    assert load_index(tmp_path / "set").samples == 100


def test_duplicates_stay_where_they_are_wanted(many: Path, tmp_path: Path) -> None:
    folder = copy_some(many, tmp_path)
    shutil.copytree(folder, folder / "again")
    make(tmp_path / "set", folder, keep_duplicates=True)
    assert load_index(tmp_path / "set").samples == 200


def test_header_checks_give_the_samples_of_full_decoding(pictures: Path, jpeg: bytes, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "own"))
    (folder / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    for check in ("decode", "header"):
        make(tmp_path / check, folder, storage=StorageConfig(check=check), max_bad=0.1)
    tables = [ShardSet(tmp_path / check).table for check in ("decode", "header")]
    assert (tables[0] == tables[1]).all()
    left_out = [load_index(tmp_path / check).left_out for check in ("decode", "header")]
    assert left_out[0] == left_out[1]
    assert len(left_out[0]) == 1


def imagenet_archive(folder: Path, out: Path) -> Path:
    """A tar of a tar a class, as ILSVRC2012_img_train.tar is."""
    parts = out / "parts"
    parts.mkdir()
    for part in sorted(folder.iterdir()):
        subprocess.run(["tar", "-cf", parts / f"{part.name}.tar", "-C", part, "."], check=True)
    subprocess.run(["tar", "-cf", out / "train.tar", "-C", parts, "."], check=True)
    return out / "train.tar"


def coco_archive(folder: Path, out: Path) -> Path:
    """One folder of stored files, as train2017.zip is."""
    with zipfile.ZipFile(out / "train2017.zip", "w") as archive:
        for path in sorted(folder.rglob("*.jpg")):
            archive.write(path, f"train2017/{path.name}")
    return out / "train2017.zip"


@pytest.mark.parametrize("archive", [imagenet_archive, coco_archive])
def test_archives_give_the_pictures_of_their_folder_whatever_kills_the_run(
    many: Path, tmp_path: Path, archive: Callable[[Path, Path], Path]
) -> None:
    source = archive(many, tmp_path)
    make(tmp_path / "straight", source)
    opened = ShardSet(tmp_path / "straight")
    pictures = {file.path.read_bytes() for file in list_sources([many])}
    assert {opened.read(sample).data for sample in range(len(opened))} == pictures
    kill_and_finish([source, "--out", tmp_path / "set", *ARGUMENTS, "--workers", "2"], tmp_path / "set", seed=3)
    assert folder_bytes(tmp_path / "set") == folder_bytes(tmp_path / "straight")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_and_the_run_goes_on_later(
    many: Path, straight: dict[str, bytes], small_disk: Path, run_verb: Run, workers: int
) -> None:
    command = (many, "--out", small_disk / "set", *ARGUMENTS, "--workers", workers)
    done = run_verb("pipeline.shard", *command)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((small_disk / "set").glob("*.partial"))
    assert not (small_disk / "set" / "index.json").exists()
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert run_verb("pipeline.shard", *command).returncode == 0
    assert folder_bytes(small_disk / "set") == straight


def test_a_limited_file_size_is_told(many: Path, tmp_path: Path) -> None:
    """As a full disk, where nothing can be mounted."""
    command = f"ulimit -f 8; {sys.executable} -m pipeline.shard {many} --out {tmp_path}/set --workers 1 --shard-mb 0.1"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert not list((tmp_path / "set").glob("*.partial"))


def test_a_picture_without_permission_is_left_out(jpeg: bytes, commoner: Path) -> None:
    (commoner / "in").mkdir()
    for number in range(10):
        (commoner / "in" / f"{number}.jpg").write_bytes(stamped(jpeg, number))
    (commoner / "in" / "3.jpg").chmod(0)
    make(commoner / "set", commoner / "in", max_bad=0.1)
    (lost,) = load_index(commoner / "set").left_out
    assert (lost.source, lost.reason) == ("3.jpg", "Permission denied")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers is too small"),
        (["--min-side", "1"], "--min-side is too small"),
        (["--split", "train=0.5"], "impossible split"),
        (["--part", "4/4"], "impossible part"),
        (["--max-bad", "2"], "--max-bad is no share"),
        (["--max-bad", "nan"], "--max-bad is no share"),
        (["--tile", "-8"], "--tile is too small"),
        (["--channels", "color=rgb.*"], "--channels is for --renders"),
        (["--renders-pattern", "(?P<frame>.+)"], "--renders-pattern is for --renders"),
    ],
)
def test_impossible_options_are_refused(many: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        main([str(many), "--out", str(tmp_path / "set"), *arguments])
    with pytest.raises(BadInput, match="no sources"):
        main(["--out", str(tmp_path / "set")])
    assert not (tmp_path / "set").exists()


def test_a_set_is_whole_for_plain_tar_and_verify(many: Path, tmp_path: Path) -> None:
    make(tmp_path / "set", many)
    assert verify(tmp_path / "set") == []
    sums = {file.path.read_bytes() for file in list_sources([many])}
    opened = ShardSet(tmp_path / "set")
    assert {opened.read(sample).data for sample in range(len(opened))} == sums
    assert len(abouts(tmp_path / "set")) == 1000


def test_the_progress_says_what_and_how_fast_and_how_long(many: Path, tmp_path: Path) -> None:
    """On a terminal; nowhere else is a bar of any use."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 160))
    command = [sys.executable, "-m", "pipeline.shard", str(many), "--out", str(tmp_path / "set"), "--shard-mb", "0.05"]
    with subprocess.Popen(
        [*command, "--workers", "1"], env=environment(), stdout=subprocess.PIPE, stderr=theirs
    ) as run:
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 1 << 16):
                said += data
        except OSError:  # as a terminal ends on Linux
            pass
        run.communicate()
    os.close(ours)
    assert run.returncode == 0
    assert re.search(rb"shards: +\d+%.* \d+/1000 \[\d\d:\d\d<\d\d:\d\d, .*\d+ MB at [\d,]+ MB/s, 0 left out", said), (
        said
    )
    done = subprocess.run([*command[:-3], str(tmp_path / "b")], env=environment(), capture_output=True, check=True)
    assert done.stderr == b""
