"""Training on tars that others wrote, by real processes of which none has seen them before."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from webdataset import ShardWriter

from pipeline.foreign import RECORD

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tars(tmp_path: Path, pictures: Path) -> Path:
    """The pictures as webdataset's own writer keeps them, in three tars."""
    folder = tmp_path / "tars"
    folder.mkdir()
    with ShardWriter(str(folder / "%02d.tar"), maxcount=4, verbose=0) as writer:
        for number, path in enumerate(sorted(pictures.rglob("*.*"))):
            writer.write({"__key__": f"{number:04d}", path.suffix[1:]: path.read_bytes(), "cls": b"1"})
    return folder


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


@pytest.mark.filterwarnings("ignore")  # webdataset's own
def test_a_training_is_their_first_use(run_verb: Run, tiny: tuple[str, ...], tars: Path, tmp_path: Path) -> None:
    data = [f"--data.train={tars}", "--pairs.crop=16", "--loader.workers=2"]
    done = run_verb("launch.train", f"run={tmp_path / 'two'}", *tiny, *data, ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("indexed 12 pictures of 3 tars") == 1
    assert (tars / RECORD).exists()
    again = run_verb("launch.train", "--run", tmp_path / "one", *tiny, *data)
    assert "indexed" not in again.stderr
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), rel=1e-4)
    scores = run_verb("launch.evaluate", tmp_path / "one", "--data", tars, "--limit", 2, "--json", tmp_path / "s.json")
    assert scores.returncode == 0, scores.stderr

    (tars / "02.tar").unlink()
    for arguments in (["--run", tmp_path / "one"], [f"run={tmp_path / 'two'}"]):
        ranks = 0 if arguments[0] == "--run" else 2
        other = run_verb("launch.train", *arguments, *tiny, *data, "--train.images=48", ranks=ranks)
        assert other.returncode != 0
        assert "this run was trained on other data" in other.stderr


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_tar_stops_every_rank_with_one_message(
    run_verb: Run, tiny: tuple[str, ...], tars: Path, tmp_path: Path
) -> None:
    data = (tars / "01.tar").read_bytes()
    (tars / "01.tar").write_bytes(data[: len(data) // 2 // 512 * 512])
    done = run_verb("launch.train", f"run={tmp_path / 'run'}", *tiny, f"--data.train={tars}", ranks=2)
    assert done.returncode != 0
    assert done.stderr.count("a damaged tar") == 1, done.stderr
    assert not (tars / "index.json").exists()
