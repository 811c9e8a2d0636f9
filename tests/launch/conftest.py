"""Renders, a denoiser trained on them for a few steps, and what W&B has kept. Everything is generated."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch.run_dir import RunDir
from pipeline.exr.pixels import encode
from pipeline.sharding.render_shards import RenderShardConfig, shard_renders
from tests.conftest import environment
from tests.forked_verbs import VerbServer
from tests.launch.cluster import Cluster, Make

SHAPE = (40, 56)


def save_render(
    path: Path, scene: int, seed: int, *, scale: float = 1.0, noise: bool = True, kind: Any = np.float16
) -> None:
    """A gradient of light over squares, with multiplicative noise of mean one, and an albedo and a normal."""
    rng = np.random.default_rng([scene, seed])
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[1]
    squares = 0.2 + 0.6 * (((8 * x).astype(int) + (6 * y).astype(int) + scene) % 2)
    channels: dict[str, Any] = {}
    for number, letter in enumerate("RGB"):
        light = scale * squares * (0.3 + x) * (1 + number / 3)
        channels[letter] = light * (rng.gamma(2, 0.5, SHAPE) if noise else 1)
        channels[f"albedo.{letter}"] = squares + rng.normal(0, 0.02, SHAPE)
        channels[f"normal.{'XYZ'[number]}"] = np.full(SHAPE, number - 1.0)
    channels["crypto00.R"] = rng.integers(0, 2**16, SHAPE, dtype=np.uint16).view(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        encode({name: np.asarray(plane).astype(kind) for name, plane in channels.items()}, {"owner": "us"})
    )


@pytest.fixture(scope="session")
def render_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of two realisations and a reference."""
    folder = tmp_path_factory.mktemp("render_set")
    for scene in range(3):
        for number, name in enumerate("ab"):
            save_render(folder / f"exr/room{scene}_{name}_8spp.exr", scene, number)
        save_render(folder / f"exr/room{scene}_ref_1024spp.exr", scene, 9, noise=False)
    shard_renders([folder / "exr"], folder / "set", RenderShardConfig())
    return folder / "set"


RENDERS = (
    "--config=configs/render.yaml",
    "--pairs.crop=32",
    "--train.batch=2",
    "--train.precision=float32",
    "--train.log_every_images=2",
    "--train.checkpoint_every_images=4",
    "--loader.workers=1",
    "--wandb.mode=off",
)


@pytest.fixture(scope="session")
def render_options(render_set: Path) -> tuple[str, ...]:
    root = Path(__file__).parent.parent.parent
    config = f"--config={root / 'configs/render.yaml'}"
    return (config, *RENDERS[1:], f"--data.train={render_set}", f"--data.validation={render_set}")


@pytest.fixture(scope="session")
def render_run(render_options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, verbs: VerbServer) -> Path:
    """A finished run of four steps, not to be changed by tests."""
    folder = tmp_path_factory.mktemp("runs") / "renders"
    options = ["--run", str(folder), *render_options, "--train.images=8"]
    done = verbs.run("launch.train", options, folder.parent, environment(), timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDir]:
    """A run's folder, claimed by this process."""
    run = RunDir(tmp_path / "run")
    run.claim()
    yield run
    run.release()


@pytest.fixture
def wandb_records(child_environment: dict[str, str]) -> Callable[[Path], list[dict[str, Any]]]:
    """Everything that one offline W&B record holds, read with W&B's own inspector."""

    def read(record: Path) -> list[dict[str, Any]]:
        inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(record)]
        said = subprocess.run(inspect, env=child_environment, capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in said.splitlines()]

    return read


@pytest.fixture
def wandb_entries(
    wandb_records: Callable[[Path], list[dict[str, Any]]],
) -> Callable[[Path], list[dict[str, Any]]]:
    """The same of a run's one record."""

    def read(run: Path) -> list[dict[str, Any]]:
        (record,) = (run / "wandb").glob("offline-run-*/*.wandb")
        return wandb_records(record)

    return read


@pytest.fixture
def wandb_history(
    wandb_entries: Callable[[Path], list[dict[str, Any]]],
) -> Callable[[Path], list[dict[str, Any]]]:
    """The rows of numbers of such a record."""
    return lambda run: [entry["history"]["item"] for entry in wandb_entries(run) if entry["type"] == "history"]


@pytest.fixture
def cluster(tiny: tuple[str, ...], tmp_path: Path, child_environment: dict[str, str]) -> Iterator[Make]:
    """Makes a cluster of so many nodes; none outlives the test."""
    made: list[Cluster] = []

    def make(size: str = "2", head: str = "") -> Cluster:
        made.append(Cluster(tmp_path, child_environment, tiny, size, head))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture(scope="session")
def undisturbed(
    tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, child_environment: dict[str, str]
) -> dict[int, float]:
    """The losses of the same training on two ranks that nothing happened to."""
    cluster = Cluster(tmp_path_factory.mktemp("undisturbed"), child_environment, tiny, "1")
    cluster.start(ranks=2)
    try:
        return cluster.finish()
    finally:
        cluster.kill()
