"""Pictures, shards and processes that tests share. Everything is generated: the suite needs no data."""

import io
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.audit import AuditConfig
from pipeline.dead_leaves import dead_leaves
from pipeline.shard import ShardConfig, shard
from pipeline.shard_pairs import ShardPairsConfig, shard_pairs
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.shot_scenes import ShotsConfig
from pipeline.sources.listing import list_sources
from pipeline.sources.shots import ScenesConfig, list_scenes
from tests.forked_verbs import VerbServer

ROOT = Path(__file__).parent.parent

# A shell starts its background jobs deaf to Ctrl-C, and processes inherit that; those of tests shall hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment() -> dict[str, str]:
    """For child processes: this checkout's code, and no account of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    quiet = {"NETRC": os.devnull, "PYTHONWARNINGS": "ignore"}
    # Threads that wait for each other in a busy loop take the cores from the tests beside them.
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE", **quiet}


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    return environment()


@pytest.fixture(scope="session")
def verbs() -> Iterator[VerbServer]:
    server = VerbServer(environment())
    yield server
    server.close()


@pytest.fixture
def run_verb(tmp_path: Path, verbs: VerbServer) -> Run:
    """Run `python -m MODULE ARGUMENTS...` in an empty folder, or on several ranks with `ranks=N`."""

    def run(module: str, *arguments: object, ranks: int = 0, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        if ranks:
            words = ["--standalone", f"--nproc-per-node={ranks}", "-m", module, *words]
            module = "torch.distributed.run"
        return verbs.run(module, words, tmp_path, environment(), timeout)

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small pictures in nested folders: PNG and JPEG, colour and greyscale, one smaller than a crop."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        size = 20 if number == 5 else 48 + 4 * number
        pixels = dead_leaves(size, np.random.default_rng(number))
        image = Image.fromarray(pixels[..., 1] if number == 7 else pixels)
        path = folder / f"class{number % 3}" / f"picture{number}.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
    return folder


@pytest.fixture(scope="session")
def shards(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of these pictures in several shards, not to be changed by tests."""
    out = tmp_path_factory.mktemp("sets") / "shards"
    config = ShardConfig(plan=PlanConfig(shard_mb=0.015))
    shard(list_sources([pictures]), out, config)
    return out


def noisy_shots(seed: int, count: int, size: int = 64, sigma: float = 0.08) -> tuple[list[np.ndarray], np.ndarray]:
    """Shots of dead leaves in 16 bits with room for their noise below black and above white, and the clean one."""
    random = np.random.default_rng(seed)
    clean = dead_leaves(size, random).transpose(2, 0, 1) / 255
    shots = [clean + sigma * random.normal(size=clean.shape) for _ in range(count)]
    stored = [np.round((0.25 + 0.5 * shot) * 65535).clip(0, 65535).astype(np.uint16) for shot in (*shots, clean)]
    return stored[:-1], stored[-1]


def make_scenes(
    tmp_path: Path, scenes: list[list[np.ndarray]], references: list[np.ndarray] | None = None, **options: Any
) -> Path:
    """A set of scenes written as .npy in a folder each; `mode` and `white` as of `n2n shard --pairs`."""
    for number, shots in enumerate(scenes):
        folder = tmp_path / "scenes" / f"scene{number:02d}"
        folder.mkdir(parents=True)
        for shot, pixels in enumerate(shots):
            np.save(folder / f"shot{shot}.npy", pixels)
        if references:
            np.save(folder / "clean.npy", references[number])
    layout = ScenesConfig(layout="folders")
    shots_config = ShotsConfig(audit=AuditConfig(mode=options.pop("mode", "leave-out")), **options)
    config = ShardPairsConfig(scenes=layout, shots=shots_config, plan=PlanConfig(shard_mb=0.3))
    shard_pairs(list_scenes([str(tmp_path / "scenes")], layout), tmp_path / "set", config)
    return tmp_path / "set"


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of six scenes of 2, 3 and 4 noisy shots, not to be changed by tests."""
    shots = [noisy_shots(seed, 2 + seed % 3)[0] for seed in range(6)]
    return make_scenes(tmp_path_factory.mktemp("scenes"), shots, mode="keep")


@pytest.fixture(scope="session")
def referenced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of eight scenes of two shots with their references, not to be changed by tests."""
    made = [noisy_shots(seed, 2) for seed in range(10, 18)]
    folder = tmp_path_factory.mktemp("referenced")
    return make_scenes(folder, [shots for shots, _ in made], [clean for _, clean in made], mode="keep")


@pytest.fixture
def own_shards(shards: Path, tmp_path: Path) -> Path:
    """A copy of the set for a test to damage."""
    return Path(shutil.copytree(shards, tmp_path / "own"))


@pytest.fixture
def flip_bit() -> Callable[[Path, int], None]:
    def flip(path: Path, position: int) -> None:
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)

    return flip


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


TINY = (
    "--pairs.crop=32",
    "--train.batch=4",
    "--train.images=24",
    "--train.precision=float32",
    "--train.log_every_images=4",
    "--train.checkpoint_every_images=8",
    "--train.validate_every_images=12",
    "--loader.workers=1",
    "--wandb.mode=off",
    "--data.validation_pictures=3",
)


@pytest.fixture(scope="session")
def tiny(shards: Path, pictures: Path) -> tuple[str, ...]:
    """Options of a training of six steps on the small set; later options override earlier ones."""
    return (f"--data.train={shards}", f"--data.validation={pictures}", *TINY)


@pytest.fixture(scope="session")
def trained(tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, verbs: VerbServer) -> Path:
    """A finished tiny run of one process, not to be changed by tests."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    done = verbs.run("launch.train", ["--run", str(folder), *tiny], folder.parent, environment(), timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


def stamped(jpeg: bytes, number: int) -> bytes:
    """The same picture as a file of its own: a comment segment after the start marker."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + jpeg[2:]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(dead_leaves(48, np.random.default_rng(0))).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="session")
def many(jpeg: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand small pictures in ten folders."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(1000):
        path = folder / f"class{number % 10}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(stamped(jpeg, number))
    return folder


@pytest.fixture
def commoner() -> Iterator[Path]:
    """A folder for a test that runs as a user whom permissions stop, even where this one is root."""
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp())
    try:
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for path in folder.rglob("*"):
            path.chmod(0o700)
        shutil.rmtree(folder)
