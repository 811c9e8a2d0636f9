"""The two scripts of docs/pairs.md do what is said of them there."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.dead_leaves import dead_leaves
from pipeline.shard_pairs import ShardPairsConfig, shard_pairs
from pipeline.sharding.shot_scenes import ShotsConfig
from pipeline.sources.shots import ScenesConfig, list_scenes

PAGE = Path(__file__).parents[2] / "docs" / "pairs.md"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        Image.fromarray(dead_leaves(160, np.random.default_rng(number))).save(folder / f"{number}.png")
    return folder


def run_script(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    script = next(block for block in blocks if f"python {name}" in block)
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    exec(compile(script, f"{PAGE}:{name}", "exec"), {"__name__": "__main__"})


def test_generated_bursts_become_a_set_whose_mean_is_the_clean_picture(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    run_script("bursts.py", monkeypatch, photos, tmp_path / "bursts")
    folders = ScenesConfig(layout="folders")
    config = ShardPairsConfig(scenes=folders, shots=ShotsConfig())
    index = shard_pairs(list_scenes([str(tmp_path / "bursts")], folders), tmp_path / "set", config)[""]
    assert index is not None
    assert index.samples == 3
    assert not index.left_out

    scene = {path.stem: tifffile.imread(path).astype(float) for path in (tmp_path / "bursts" / "0000").iterdir()}
    clean = (scene.pop("clean") - 8192) / 24000
    noises = np.stack([(shot - 8192) / 24000 - clean for shot in scene.values()])
    variance = clean / 30 + (2 / 30) ** 2
    assert abs(noises.mean()) < 5 * np.sqrt(variance.mean() / noises.size)
    assert np.isclose((noises**2).mean(), variance.mean(), rtol=0.03)


def test_rates_finds_shared_noise_and_only_that(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script("rates.py", monkeypatch, photos)
    found = {
        tuple(words[:2]): int(words[2]) for line in capsys.readouterr().out.splitlines() if (words := line.split())
    }
    assert found["60", "0.0"] == 0
    assert found["60", "0.4"] >= 2
