"""Sets of realisations: what is written is read, by us and by others; the same bytes however they were made."""

import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.reader import ShardSet
from pipeline.realisations import RealisationSet
from pipeline.sharding.assemble import Kind, MakeConfig, make_set
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.realisations import Realisations
from pipeline.sharding.scene_plan import ScenePlan, plan_scenes
from pipeline.sharding.scene_writer import gather_scenes, write_scenes
from pipeline.verify import verify
from tests.conftest import folder_bytes

SCENES = Kind(write_scenes, gather_scenes)
DTYPES = ("u1", "<u2", "<f2", "<f4")


@dataclass(frozen=True)
class Drawn:
    """A scene of its number: 2 to 4 realisations of a type of its own, every third with a reference."""

    number: int
    size: int = 10_000
    identity: str = ""

    @property
    def title(self) -> str:
        return f"scene{self.number}"


def realisations(number: int) -> Realisations:
    random = np.random.default_rng(number)
    dtype = np.dtype(DTYPES[number % 4])
    shape = (1 if number % 2 else 3, 20 + number, 30)
    color = [(random.random(shape) * 200).astype(dtype) for _ in range(2 + number % 3)]
    normal = [random.normal(size=(3, *shape[1:])).astype("<f2") for _ in color]
    reference = color[0] * 0 if number % 3 == 0 else None
    return Realisations({"color": color, "normal": normal}, reference, {"source": f"scene{number}"})


def load(scene: Drawn) -> list[Realisations] | LeftOut:
    if scene.number == 5:
        return LeftOut(scene.title, "small", "as the test wants it")
    return realisations(scene.number).cut(16 if scene.number == 6 else 0)


def plan() -> ScenePlan[Drawn]:
    return plan_scenes([Drawn(n) for n in range(12)], PlanConfig(shard_mb=0.03), load, {"kind": "drawn"}, [])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("realisations") / "set"
    make_set(plan(), SCENES, out, MakeConfig())
    return out


def samples_by_source(opened: RealisationSet) -> dict[str, int]:
    return {opened.about(s)["source"]: s for s in range(len(opened)) if "tile" not in opened.about(s)}


def test_every_array_is_read_as_it_was_written(made: Path) -> None:
    opened = RealisationSet(made)
    samples = samples_by_source(opened)
    assert len(samples) == 10
    for name, sample in samples.items():
        written = realisations(int(name.removeprefix("scene")))
        assert opened.realisations(sample) == written.count
        assert opened.buffers(sample) == ["color", "normal"]
        assert opened.has_reference(sample) == (written.reference is not None)
        for buffer, number, array in written.members():
            read = opened.pixels(sample, buffer, number or 0)
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)
            part = opened.window(sample, buffer, number or 0, 3, 4, 5, 6)
            np.testing.assert_array_equal(part, array[:, 3:8, 4:10])


def test_tiles_are_samples_that_cover_the_frame(made: Path) -> None:
    opened = RealisationSet(made)
    tiles = [s for s in range(len(opened)) if "tile" in opened.about(s)]
    whole = realisations(6)
    canvas = np.zeros_like(whole.buffers["color"][1])
    for sample in tiles:
        (top, left), (height, width) = opened.about(sample)["tile"], opened.size(sample)
        canvas[:, top : top + height, left : left + width] = opened.pixels(sample, "color", 1)
    np.testing.assert_array_equal(canvas, whole.buffers["color"][1])


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_makes_the_same_bytes(made: Path, tmp_path: Path, workers: int) -> None:
    make_set(plan(), SCENES, tmp_path / "set", MakeConfig(workers=workers))
    assert folder_bytes(tmp_path / "set") == folder_bytes(made)


def test_a_stopped_run_goes_on_to_the_same_bytes(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    stopped = plan()

    def stop(scene: Drawn) -> list[Realisations] | LeftOut:
        if scene.number == int(stopped.order[-1]):
            raise KeyboardInterrupt
        return load(scene)

    with pytest.raises(KeyboardInterrupt):
        make_set(plan_scenes(stopped.scenes, stopped.config, stop, stopped.said, []), SCENES, out, MakeConfig())
    assert not (out / "index.json").exists()
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert written
    make_set(plan(), SCENES, out, MakeConfig())
    assert folder_bytes(out) == folder_bytes(made)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())


def test_it_travels_to_another_process(made: Path) -> None:
    opened = pickle.loads(pickle.dumps(RealisationSet(made)))
    assert opened.realisations(0) >= 2


@pytest.mark.filterwarnings("ignore")  # of webdataset's own
def test_tar_and_webdataset_read_it(made: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    opened, read = RealisationSet(made), []
    for shard in sorted(made.glob("*.tar")):
        with tarfile.open(shard) as tar:
            assert all(member.name.endswith((".npy", ".json")) for member in tar)
        read += list(webdataset.WebDataset(str(shard), shardshuffle=False).decode())
    assert len(read) == len(opened)
    for sample, group in enumerate(read):
        assert group["json"] == opened.about(sample)
        for number in range(opened.realisations(sample)):
            np.testing.assert_array_equal(group[f"color.{number}.npy"], opened.pixels(sample, "color", number))


@pytest.mark.filterwarnings("ignore")  # of wids' own
def test_wids_reads_it(made: Path, tmp_path: Path) -> None:
    wids = pytest.importorskip("wids")
    opened = RealisationSet(made)
    others = wids.ShardListDataset(str(made / "index.json"), cache_dir=str(tmp_path), keep=True)
    assert len(others) == len(opened)
    for sample in (0, len(opened) - 1):
        np.testing.assert_array_equal(others[sample][".color.1.npy"], opened.pixels(sample, "color", 1))


def test_damage_is_found(made: Path, tmp_path: Path, flip_bit: Callable[[Path, int], None]) -> None:
    own = Path(shutil.copytree(made, tmp_path / "own"))
    opened = RealisationSet(own)
    row = opened.members[int(opened.table[0]["first"])]
    flip_bit(own / "shard-000000.tar", int(row["offset"]) + 200)
    assert len(verify(own)) == 1
    with pytest.raises(BadInput, match="damaged"):
        opened.pixels(0, row["buffer"].decode(), int(row["realisation"]))
    flip_bit(own / "members.npy", 300)
    with pytest.raises(BadInput, match="table is damaged"):
        RealisationSet(own)
    assert len(verify(own)) == 2


def test_the_two_kinds_of_sets_are_not_mistaken(made: Path, shards: Path) -> None:
    with pytest.raises(BadInput, match="set of realisations"):
        ShardSet(made)
    with pytest.raises(BadInput, match="single pictures"):
        RealisationSet(shards)


def test_what_is_not_there_is_named(made: Path) -> None:
    with pytest.raises(BadInput, match=r"color\.9"):
        RealisationSet(made).pixels(0, "color", 9)


@pytest.mark.parametrize(
    "buffers",
    [
        {},
        {"color": [np.zeros((3, 4, 4), "u1")] * 2, "normal": [np.zeros((3, 4, 4), "u1")]},
        {"color": [np.zeros((3, 4, 4), "u1"), np.zeros((3, 4, 5), "u1")]},
        {"color": [np.zeros((3, 4, 4), "f8")]},
        {"Co.lor": [np.zeros((3, 4, 4), "f4")]},
    ],
)
def test_what_is_no_sample_is_refused(buffers: dict[str, list[np.ndarray]]) -> None:
    with pytest.raises(BadInput):
        Realisations(buffers)
