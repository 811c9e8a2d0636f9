"""Every fault of the input that a user can meet: one message, exit code 2, nothing half-made under a final name."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from launch.checkpoint import load_checkpoint
from launch.denoiser import Denoiser
from launch.denoising.files import Job, told
from launch.denoising.stills import StillsWork
from model.network import NetworkConfig
from model.unet import UNet
from pipeline.errors import BadInput


def refused(done: "subprocess.CompletedProcess[str]", *told: str) -> None:
    """One message that says all of `told`, and exit code 2."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for text in told:
        assert text in done.stderr, done.stderr


def some_pictures(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"good{number}.jpg", quality=95)
    return folder


# Sources


def test_an_empty_folder(run_verb: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    refused(run_verb("pipeline.shard", "in", "--out", "out"), "no pictures", "where:  in")
    refused(run_verb("pipeline.shard", "none", "--out", "out"), "no such source", "none")
    assert not (tmp_path / "out").exists()


def test_impossible_places(run_verb: Any, tmp_path: Path) -> None:
    some_pictures(tmp_path / "in")
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to("ring")
    for out in ("file", "file/set", "/proc/set", "n" * 300, "ring/set"):
        refused(run_verb("pipeline.shard", "in", "--out", out), "the disk refused", out)
    for source in ("n" * 300, "file/in", "ring"):
        done = run_verb("pipeline.shard", source, "--out", "out")
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_no_readable_picture(run_verb: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.jpg").write_text("I am not a picture")
    refused(run_verb("pipeline.shard", "in", "--out", "out"), "no readable picture", "text.jpg")
    assert not (tmp_path / "out" / "index.json").exists()


def test_unfit_pictures_are_left_out_and_listed(run_verb: Any, tmp_path: Path) -> None:
    folder = some_pictures(tmp_path / "in")
    (folder / "text.jpg").write_text("I am not a picture")
    whole = (folder / "good0.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    refused(run_verb("pipeline.shard", "in", "--out", "out"), "too many unreadable pictures", "2 of 6", "--max-bad")
    assert not (tmp_path / "out" / "index.json").exists()
    done = run_verb("pipeline.shard", "in", "--out", "out", "--max-bad", "0.6")
    assert done.returncode == 0, done.stderr
    assert "3 pictures in 1 shards" in done.stdout
    for name in ("text.jpg", "half.jpg", "pixel.png"):
        assert f"left out: {name}" in done.stdout


def test_a_wide_picture_is_sharded_and_trained_on(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    folder = some_pictures(tmp_path / "in")
    Image.new("RGB", (20_000, 5), (9, 99, 199)).save(folder / "wide.png")
    assert run_verb("pipeline.shard", "in", "--out", "out").returncode == 0
    assert run_verb("launch.train", "--run", "run", *tiny, "--data.train=out").returncode == 0


def test_an_output_folder_with_another_set(run_verb: Any, tmp_path: Path, own_shards: Path) -> None:
    some_pictures(tmp_path / "in")
    before = (own_shards / "index.json").read_bytes()
    refused(run_verb("pipeline.shard", "in", "--out", own_shards), "already holds another set")
    assert (own_shards / "index.json").read_bytes() == before
    refused(run_verb("pipeline.shard", "in", "--out", "in"), "not empty")


@pytest.mark.parametrize("option", ["--workers=0", "--shard-mb=0", "--max-bad=-1", "--workers=two"])
def test_impossible_options_of_shard(run_verb: Any, tmp_path: Path, option: str) -> None:
    some_pictures(tmp_path / "in")
    done = run_verb("pipeline.shard", "in", "--out", "out", option)
    assert done.returncode == 2
    assert option.split("=")[0] in done.stderr


# Shards


def train(run_verb: Any, tiny: tuple[str, ...], shards: Path) -> "subprocess.CompletedProcess[str]":
    done: subprocess.CompletedProcess[str] = run_verb("launch.train", "--run", "run", *tiny, f"--data.train={shards}")
    return done


def test_a_shard_cut_short(run_verb: Any, tiny: tuple[str, ...], own_shards: Path) -> None:
    shard = own_shards / "shard-000001.tar"
    os.truncate(shard, shard.stat().st_size - 10_240)
    refused(train(run_verb, tiny, own_shards), "a shard of the wrong size", shard.name)
    assert "shard-000001.tar: SHA-256" in run_verb("pipeline.inspect", own_shards, "--verify").stdout


def test_a_flipped_bit(
    run_verb: Any, tiny: tuple[str, ...], own_shards: Path, flip_bit: Callable[[Path, int], None]
) -> None:
    for shard in sorted(own_shards.glob("*.tar")):
        flip_bit(shard, 512 + 100)  # inside the first picture
    refused(train(run_verb, tiny, own_shards), "a damaged sample", "shard-0000", "CRC-32", "inspect --verify")
    verified = run_verb("pipeline.inspect", own_shards, "--verify")
    assert verified.returncode == 2
    assert verified.stdout.count("SHA-256") == len(list(own_shards.glob("*.tar")))


def test_a_missing_shard(run_verb: Any, tiny: tuple[str, ...], own_shards: Path) -> None:
    (own_shards / "shard-000001.tar").unlink()
    refused(train(run_verb, tiny, own_shards), "a shard is missing", "shard-000001.tar")


@pytest.mark.parametrize("damage", ["gone", "text", "older", "unfinished"])
def test_a_bad_index(run_verb: Any, tiny: tuple[str, ...], own_shards: Path, damage: str) -> None:
    index = own_shards / "index.json"
    text = index.read_text()
    index.unlink()
    if damage == "text":
        index.write_text(text[:200])
    if damage == "older":
        index.write_text(text.replace('"n2n_version": 1', '"n2n_version": 0'))
    told = {"text": "the index is damaged", "older": "version 0"}.get(damage, "not a finished shard set")
    refused(train(run_verb, tiny, own_shards), told, str(own_shards))


@pytest.mark.parametrize("damage", ["gone", "short", "other"])
def test_a_bad_sample_table(run_verb: Any, tiny: tuple[str, ...], own_shards: Path, damage: str) -> None:
    table = own_shards / "samples.npy"
    if damage == "gone":
        table.unlink()
    if damage == "short":
        os.truncate(table, 200)
    if damage == "other":
        np.save(table, np.load(table)[:5])
    refused(train(run_verb, tiny, own_shards), "sample table", str(table))


# Checkpoints


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(trained / "checkpoints" / "000000000024.pt", tmp_path / "checkpoint.pt"))


def test_a_checkpoint_cut_short(run_verb: Any, pictures: Path, checkpoint: Path) -> None:
    os.truncate(checkpoint, checkpoint.stat().st_size // 2)
    done = run_verb("launch.denoise", checkpoint, pictures, "--out", "out")
    refused(done, "a damaged checkpoint", str(checkpoint))


def test_a_checkpoint_of_another_network(run_verb: Any, pictures: Path, checkpoint: Path) -> None:
    document = load_checkpoint(checkpoint)
    document["ema"] = UNet(NetworkConfig(in_channels=1, out_channels=1)).state_dict()
    torch.save(document, checkpoint)
    done = run_verb("launch.denoise", checkpoint, pictures, "--out", "out")
    refused(done, "a checkpoint of another network", "dec_conv1a.weight")


def test_no_run_and_no_checkpoint(run_verb: Any, pictures: Path, tmp_path: Path) -> None:
    refused(run_verb("launch.denoise", "none.pt", pictures, "--out", "out"), "no such checkpoint", "none.pt")
    refused(run_verb("launch.denoise", tmp_path, pictures, "--out", "out"), "no run there")


# Configuration


def test_an_unknown_key(run_verb: Any, tiny: tuple[str, ...]) -> None:
    done = run_verb("launch.train", "--run", "run", *tiny, "--optim.learning_rate=1")
    refused(done, "optim.learning_rate")
    refused(run_verb("launch.train", "--run", "run", *tiny, "--optim.lrr=1"), "did you mean optim.lr?")


def test_inspect_without_its_configuration(run_verb: Any, shards: Path) -> None:
    refused(run_verb("pipeline.inspect", shards, "--draw", 1), "--draw needs --config")
    refused(run_verb("pipeline.inspect", shards, "--draw", 1, "--config", "none.yaml"), "none.yaml")


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 200 kB, where the test may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_disk_that_fills_while_sharding(run_verb: Any, tmp_path: Path, small_disk: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    refused(run_verb("pipeline.shard", "in", "--out", small_disk / "out"), "the disk refused", "No space left")
    assert not any(name.endswith((".tar", "index.json", ".partial")) for name in names(small_disk))


def test_a_disk_that_fills_while_training(run_verb: Any, tiny: tuple[str, ...], small_disk: Path) -> None:
    done = run_verb("launch.train", "--run", small_disk / "run", *tiny)
    refused(done, "the disk refused", "checkpoints")
    assert not any(name.endswith((".pt", ".partial")) for name in names(small_disk))


def test_a_disk_that_fills_while_denoising(run_verb: Any, trained: Path, tmp_path: Path, small_disk: Path) -> None:
    """Of arrays, which are written through a map, and pictures: what fits is there, whole; the rest is told."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 200, 3), dtype=np.uint8)
        np.save(folder / f"{number:02d}.npy", pixels)
        Image.fromarray(pixels).save(folder / f"{number:02d}.bmp")
    done = run_verb("launch.denoise", trained, "in", "--out", small_disk / "out")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("the disk refused") > 12
    left = names(small_disk) - {"out/.n2n-denoise.jsonl"}
    assert left
    assert {(small_disk / name).stat().st_size for name in left} <= {36_128, 36_054}


def test_what_may_not_be_read_or_written(commoner: Path) -> None:
    denoiser = Denoiser(UNet(), torch.device("cpu"))
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9)).save(commoner / name)
    (commoner / "a.png").chmod(0)
    (commoner / "locked").mkdir(mode=0o500)
    work = StillsWork(denoiser, None)
    for name, target, told_of in (
        ("a.png", "out/a.png", "cannot be read"),
        ("b.png", "locked/b.png", "the disk refused"),
        ("b.png", "locked/x/b.png", "the disk refused"),
    ):
        job = Job((commoner / name,), commoner / target)
        with pytest.raises(BadInput, match=told_of), told(job):
            work.denoise(job, None, show=False)


def test_what_is_too_large_for_the_memory_is_told(tmp_path: Path) -> None:
    job = Job((tmp_path / "large.png",), tmp_path / "out.png")
    for take, todo in ((lambda: torch.empty(1 << 55), "--tile"), (lambda: np.empty(1 << 55), "cut it first")):
        with pytest.raises(BadInput, match=f"too large for the memory(.|\n)*{todo}"), told(job):
            take()
    with pytest.raises(RuntimeError, match="of ours"), told(job):
        raise RuntimeError("a fault of ours")


def test_a_file_size_limit_is_told_as_a_full_disk(
    tiny: tuple[str, ...], tmp_path: Path, child_environment: Any
) -> None:
    command = [sys.executable, "-m", "launch.train", "--run", "run", *tiny]
    limited = ["bash", "-c", 'ulimit -f 500; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=tmp_path, env=child_environment, capture_output=True, text=True, check=False)
    refused(done, "the disk refused", "checkpoints")
    assert not any(name.endswith((".pt", ".partial")) for name in names(tmp_path))


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_s_folder_that_is_read_only(
    run_verb: Any, tiny: tuple[str, ...], trained: Path, tmp_path: Path, small_disk: Path, begun: bool
) -> None:
    """A file system mounted so, as after an error of the disk: a new run, and one that was to go on."""
    subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
    if begun:
        shutil.copytree(trained, small_disk / "run")
    before = names(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = run_verb("launch.train", "--run", small_disk / "run", *tiny, "--train.images=32")
    refused(done, "the disk refused", "Read-only file system")
    assert names(small_disk) == before


def test_a_folder_that_may_not_be_written(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run_verb("launch.train", "--run", tmp_path / "file" / "run", *tiny)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
