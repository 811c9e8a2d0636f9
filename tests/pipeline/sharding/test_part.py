"""Parts of a set by several processes, under any launcher, and the step that makes them one."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.part import Part, part_of_environment
from pipeline.sharding.plan import PlanConfig
from pipeline.sources.listing import list_sources
from tests.conftest import Run, environment, folder_bytes


def make(out: Path, source: Path, **config: object) -> None:
    shard(list_sources([source]), out, ShardConfig(plan=PlanConfig(shard_mb=0.05), **config))  # type: ignore[arg-type]


def test_every_shard_is_in_one_part() -> None:
    dealt = [number for part in range(3) for number in Part(part, 3).shards(10)]
    assert sorted(dealt) == list(range(10))


@pytest.mark.parametrize("count", [2, 5])
def test_parts_in_any_order_and_number_make_the_same_set(many: Path, tmp_path: Path, count: int) -> None:
    make(tmp_path / "whole", many)
    for part in reversed(range(count)):
        make(tmp_path / "parts", many, part=Part(part, count))
        assert not (tmp_path / "parts" / "index.json").exists()
    make(tmp_path / "parts", many, finish=True)
    assert folder_bytes(tmp_path / "parts") == folder_bytes(tmp_path / "whole")


def test_a_set_is_not_finished_without_all_its_parts(many: Path, tmp_path: Path) -> None:
    make(tmp_path / "set", many, part=Part(0, 2))
    with pytest.raises(BadInput, match=r"not complete[^$]*shard-000001\.tar"):
        make(tmp_path / "set", many, finish=True)


@pytest.mark.parametrize("fault", ["flip", "gone", "shorter"])
def test_what_went_wrong_elsewhere_is_found_before_the_index_is_written(
    many: Path, tmp_path: Path, flip_bit: Callable[[Path, int], None], fault: str
) -> None:
    for part in range(2):
        make(tmp_path / "set", many, part=Part(part, 2))
    victim = tmp_path / "set" / "shard-000001.tar"
    if fault == "flip":
        flip_bit(victim, 5000)
    elif fault == "gone":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-512])
    with pytest.raises(BadInput, match=r"shard-000001\.tar"):
        make(tmp_path / "set", many, finish=True)
    assert not (tmp_path / "set" / "index.json").exists()


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({}, Part(0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Part(3, 4)),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"}, Part(0, 4)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "5",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_STEP": "2",
            },
            Part(2, 3),
        ),
        ({"JOB_COMPLETION_INDEX": "7", "JOB_COMPLETIONS": "8"}, Part(7, 8)),
    ],
)
def test_launchers_say_which_part_this_is(environment: dict[str, str], part: Part) -> None:
    assert part_of_environment(environment) == part


@pytest.mark.parametrize(
    "environment",
    [
        {"JOB_COMPLETION_INDEX": "7"},
        {"RANK": "x", "WORLD_SIZE": "4"},
        {"RANK": "4", "WORLD_SIZE": "4"},
        {"SLURM_ARRAY_TASK_COUNT": "4"},
    ],
)
def test_a_launcher_that_says_half_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="part"):
        part_of_environment(environment)


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "1/0", ""])
def test_impossible_parts_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="impossible part"):
        Part.parse(text)


def test_under_torchrun_each_rank_makes_its_part(many: Path, tmp_path: Path, run_verb: Run) -> None:
    make(tmp_path / "whole", many)
    arguments = [many, "--out", tmp_path / "set", "--shard-mb", "0.05", "--workers", "1"]
    done = run_verb("pipeline.shard", *arguments, ranks=2)
    assert done.returncode == 0, done.stderr
    assert "part 0/2 is done" in done.stdout
    assert run_verb("pipeline.shard", *arguments, "--finish").returncode == 0
    assert folder_bytes(tmp_path / "set") == folder_bytes(tmp_path / "whole")


def test_a_machine_that_dies_costs_its_own_unfinished_shards_alone(many: Path, tmp_path: Path) -> None:
    make(tmp_path / "whole", many)
    out = tmp_path / "set"
    command = [sys.executable, "-m", "pipeline.shard", many, "--out", out, "--shard-mb", "0.05", "--workers", "1"]
    make(out, many, part=Part(0, 2))
    done_before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    with subprocess.Popen([*command, "--part", "1/2"], env=environment(), stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(out.glob("*.tar"))) < len(done_before) + 2:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    finished = [out / path.name.removesuffix(".json") for path in (out / ".work").glob("*.tar.json")]
    done_before = {path: path.stat().st_mtime_ns for path in finished}
    with pytest.raises(BadInput, match="not complete"):
        make(out, many, finish=True)
    make(out, many, part=Part(1, 2))
    assert {path: path.stat().st_mtime_ns for path in done_before} == done_before
    make(out, many, finish=True)
    assert folder_bytes(out) == folder_bytes(tmp_path / "whole")
