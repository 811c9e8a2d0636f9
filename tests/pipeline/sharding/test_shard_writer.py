"""One shard: whole or absent, the same bytes each time, and found again."""

import json
import subprocess
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.index import SAMPLE, file_sha256
from pipeline.sharding.plan import Job
from pipeline.sharding.shard_writer import load_result, write_shard
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources
from tests.conftest import folder_bytes

NAME = "shard-000003.tar"


def job(folder: Path, first_key: int = 40) -> Job:
    return Job(NAME, first_key, list(list_sources([folder])[:]))


def out_of(folder: Path) -> tuple[Path, Path]:
    (folder / ".work").mkdir(parents=True)
    return folder, folder / ".work"


def test_a_shard_is_written_once_and_found_again(pictures: Path, tmp_path: Path) -> None:
    out, work = out_of(tmp_path / "a")
    result = write_shard(job(pictures), out, work, False, StorageConfig())
    files = folder_bytes(out)
    assert set(files) == {NAME, "shard-000003.idx", f".work/{NAME}.npy", f".work/{NAME}.json"}
    assert result.entry.sha256 == file_sha256(out / NAME)
    assert (result.entry.samples, result.entry.bytes) == (12, (out / NAME).stat().st_size)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = write_shard(job(pictures), out, work, False, StorageConfig())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    assert (again.entry, again.left_out) == (result.entry, result.left_out)
    assert (again.levels.counts == result.levels.counts).all()
    other, other_work = out_of(tmp_path / "b")
    write_shard(job(pictures), other, other_work, False, StorageConfig())
    assert folder_bytes(other) == files


@pytest.mark.parametrize("aside", [False, True], ids=["here", "aside"])
@pytest.mark.parametrize("check", ["decode", "header"])
def test_bytes_do_not_depend_on_the_way(
    pictures: Path, tmp_path: Path, check: Literal["decode", "header"], aside: bool
) -> None:
    out, work = out_of(tmp_path / "a")
    write_shard(job(pictures), out, work, aside, StorageConfig(check=check))
    other, other_work = out_of(tmp_path / "b")
    write_shard(job(pictures), other, other_work, False, StorageConfig())
    assert folder_bytes(out) == folder_bytes(other)


def test_keys_are_the_numbers_of_the_set(pictures: Path, tmp_path: Path) -> None:
    out, work = out_of(tmp_path / "a")
    write_shard(job(pictures), out, work, False, StorageConfig(tile=40))
    listed = subprocess.run(["tar", "-tf", out / NAME], capture_output=True, text=True, check=True).stdout.split()
    keys = {name.partition(".")[0] for name in listed}
    assert {int(key[:9]) for key in keys} == set(range(40, 52))
    assert any(key.endswith("_0003") for key in keys)
    assert all(name.isascii() and len(name) < 100 for name in listed)


def test_the_table_has_the_places_of_the_members(pictures: Path, tmp_path: Path) -> None:
    out, work = out_of(tmp_path / "a")
    table = write_shard(job(pictures), out, work, False, StorageConfig()).load_table(work)
    assert table.dtype == SAMPLE
    data = (out / NAME).read_bytes()
    originals = {source.path.read_bytes() for source in job(pictures).files}
    assert {data[int(row["offset"]) : int(row["offset"]) + int(row["size"])] for row in table} == originals


def test_a_shard_of_nothing_leaves_only_its_record(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"no picture")
    out, work = out_of(tmp_path / "a")
    result = write_shard(job(tmp_path / "in"), out, work, False, StorageConfig())
    assert (result.entry.samples, len(result.left_out)) == (0, 1)
    assert set(folder_bytes(out)) == {f".work/{NAME}.json"}
    found = load_result(NAME, out, work)
    assert found is not None
    assert found.left_out == result.left_out


@pytest.mark.parametrize("damage", ["gone", "shorter"])
def test_a_finished_shard_that_is_lost_is_told(pictures: Path, tmp_path: Path, damage: str) -> None:
    out, work = out_of(tmp_path / "a")
    assert load_result(NAME, out, work) is None
    write_shard(job(pictures), out, work, False, StorageConfig())
    if damage == "gone":
        (out / NAME).unlink()
    else:
        (out / NAME).write_bytes(b"x" * 100)
    with pytest.raises(BadInput, match=r"lost or changed[^$]*delete .*json"):
        write_shard(job(pictures), out, work, False, StorageConfig())


def test_a_source_that_fails_midway_leaves_no_shard(pictures: Path, tmp_path: Path) -> None:
    out, work = out_of(tmp_path / "a")
    half = job(pictures)
    vanished = Job(NAME, 0, [*half.files[:6], half.files[6].__class__(tmp_path, "none.jpg", 5)])
    with pytest.raises(BadInput, match=r"none\.jpg"):
        write_shard(vanished, out, work, False, StorageConfig())
    assert folder_bytes(out) == {}


def test_about_json_is_one_object_a_sample(pictures: Path, tmp_path: Path) -> None:
    out, work = out_of(tmp_path / "a")
    write_shard(job(pictures), out, work, False, StorageConfig())
    read = ["tar", "-xOf", out / NAME, "000000040.json"]
    about = json.loads(subprocess.run(read, capture_output=True, check=True).stdout)
    assert about["encoding"] == "srgb"
    assert np.prod([about["width"], about["height"]]) > 0
