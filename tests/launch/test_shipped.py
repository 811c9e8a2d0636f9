"""Weights that come with the project: what is listed is there, whole, and denoises as it says."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from launch import denoise, export, models, shipped
from launch.checkpoint import load_checkpoint
from launch.denoiser import Denoiser
from launch.exporting.shipping import leaves_gain_db
from launch.shipped import SHIPPED, located
from launch.trained import read_trained
from pipeline.dead_leaves import dead_leaves
from pipeline.errors import BadInput

NAMES = sorted(shipped.shipped())
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_they_gain_what_is_published(name: str) -> None:
    listed = shipped.shipped()[name]
    trained = read_trained(f"weights:{name}")
    assert trained.corruption == listed.corruption
    assert leaves_gain_db(trained) == pytest.approx(listed.leaves_gain_db, abs=0.02)
    assert listed.leaves_gain_db > 0.5
    assert listed.bytes < 5_000_000
    assert all(result["denoised_db"] > result["noisy_db"] for result in listed.results)
    assert listed.licence in (SHIPPED / f"{name}.safetensors.md").read_text()


NETWORK = "--network.name=drunet"  # of the weights `gaussian`


def test_weights_that_are_not_those_gain_something_else() -> None:
    """The twin: an eighth of the last layer's weights lost is seen."""
    trained = read_trained("gaussian")
    last = dict(trained.net.named_parameters())["last.weight"]
    last.data[:, :4] = 0
    assert leaves_gain_db(trained) < shipped.shipped()["gaussian"].leaves_gain_db - 0.1


def test_gaussian_is_there_and_every_file_is_listed() -> None:
    assert "gaussian" in NAMES
    files = {path.name for path in SHIPPED.iterdir()}
    wanted = {f"{name}.safetensors{ending}" for name in NAMES for ending in ("", ".md")}
    assert files == wanted | {"index.json"}


def test_a_photograph_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`n2n denoise --weights gaussian photo.png`, and nothing else."""
    monkeypatch.chdir(tmp_path)
    clean = dead_leaves(96, np.random.default_rng(3)).astype(float)
    noisy = clean + np.random.default_rng(4).normal(0, 25, clean.shape)
    Image.fromarray(noisy.clip(0, 255).round().astype(np.uint8)).save("photo.png")
    denoise.main(["--weights", "gaussian", "photo.png"])
    denoised = np.asarray(Image.open("denoised/photo.png")).astype(float)
    before, after = (np.square(picture.clip(0, 255) - clean).mean() for picture in (noisy, denoised))
    assert after < before / 2
    denoise.main(["weights:gaussian", "photo.png", "--out", "again"])
    assert (tmp_path / "again/photo.png").read_bytes() == (tmp_path / "denoised/photo.png").read_bytes()


def test_evaluate_by_name_beside_a_run(run_verb: Any, pictures: Path, trained: Path, tmp_path: Path) -> None:
    """They denoise these pictures; six steps of a network do not. The name alone means the same."""
    options = ("--images", pictures, "--limit", 4, "--json")
    done = run_verb("launch.evaluate", "weights:gaussian", trained, *options, "both.json")
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "both.json").read_text())
    ours, run = ([image["psnr_srgb8_db"] for image in one["images"]] for one in said["evaluations"])
    assert min(a - b for a, b in zip(ours, run, strict=True)) > 3
    assert run_verb("launch.evaluate", "gaussian", *options, "alone.json").returncode == 0
    assert [image["psnr_srgb8_db"] for image in json.loads((tmp_path / "alone.json").read_text())["images"]] == ours
    refused = run_verb("launch.evaluate", "weights:gausian", *options, "none.json")
    assert refused.returncode == 2
    assert "no such weights" in refused.stderr


def test_export_and_load_by_name(tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    export.main(["--weights", "gaussian", "--format", "safetensors", "--out", str(out)])
    noisy = torch.rand(3, 40, 50)
    assert torch.equal(Denoiser.load(out, CPU)(noisy), Denoiser.load("gaussian", CPU)(noisy))
    assert "gaussian" in (tmp_path / "net.safetensors.md").read_text()


def test_a_file_of_the_name_comes_before_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("gaussian") == SHIPPED / "gaussian.safetensors"
    Path("gaussian").mkdir()
    assert located("gaussian") == Path("gaussian")
    assert located("weights:gaussian") == SHIPPED / "gaussian.safetensors"


def test_unknown_and_damaged_weights_are_told(tmp_path: Path, flip_bit: Any) -> None:
    with pytest.raises(BadInput, match="no such weights") as told:
        Denoiser.load("weights:gausian")
    assert "gaussian" in str(told.value)
    folder = shutil.copytree(SHIPPED, tmp_path / "weights")
    path = folder / "gaussian.safetensors"
    flip_bit(path, path.stat().st_size // 2)
    with pytest.raises(BadInput, match="damaged weights"):
        located("weights:gaussian", folder)
    path.unlink()
    with pytest.raises(BadInput, match="damaged weights"):
        located("weights:gaussian", folder)
    for content in ("{", "{}", '{"weights": [{"name": "gaussian"}]}', "[]"):
        (folder / "index.json").write_text(content)
        with pytest.raises(BadInput, match="damaged weights"):
            located("weights:gaussian", folder)


def test_the_list_says_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    models.main(["--verify"])
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 1 + sum(len(entry.results) for entry in shipped.shipped().values())
    for word in ("gaussian", "sigma_255", "Apache-2.0", "MB", "kodak (24)"):
        assert word in printed


def test_making_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the project's own were made with; here from those, as a tiny run gains nothing and is refused."""
    scores = {"denoiser": "d", "noise": "gaussian sigma_255=25", "pictures": "kodak", "images": [1] * 24}
    scores["mean"] = {"psnr_noisy_srgb_db": 20.17, "psnr_srgb8_db": 31.22, "ssim_srgb8": 0.8554}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    (tmp_path / "more.json").write_text(json.dumps({"evaluations": [{**scores, "pictures": "set14"}]}))
    files = [str(tmp_path / name) for name in ("scores.json", "more.json")]
    arguments = ["--out", str(tmp_path / "made"), "--licence", "CC0-1.0", "--scores", *files]
    for name in ("one", "two"):
        export.main(["--weights", "gaussian", "--ship", name, *arguments])
    made = shipped.shipped(tmp_path / "made")
    assert list(made) == ["one", "two"]
    assert made["two"].results[0]["denoised_db"] == 31.22
    assert [result["pictures"] for result in made["two"].results] == ["kodak", "set14"]
    assert made["two"].images == shipped.shipped()["gaussian"].images
    noisy = torch.rand(3, 40, 50)
    again = Denoiser.load(located("weights:two", tmp_path / "made"), CPU)
    assert torch.equal(again(noisy), Denoiser.load("gaussian", CPU)(noisy))
    assert "kodak (24)" in (tmp_path / "made/two.safetensors.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "what is to be exported"),
        (["RUN", "--weights", "gaussian"], "what is to be exported"),
        (["RUN", "--format", "onnx"], "needs a place"),
        (["RUN", "--ship", "x", "--format", "onnx"], "an option too many"),
        (["RUN", "--ship", "x", "--out", "made"], "denoise nothing"),
    ],
)
def test_bad_options_are_told(
    trained: Path, tmp_path: Path, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=told):
        export.main([str(trained) if word == "RUN" else word for word in arguments])
    assert not list(tmp_path.iterdir())


def test_a_training_begins_with_them(run_verb: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """One step of a rate of nothing leaves the weights as they were; on two ranks as well as on one."""
    rates = ["--optim.lr=1e-12", "--train.images=4"]
    first = Denoiser.load("gaussian", CPU).net.state_dict()
    for ranks in (0, 2):
        done = run_verb(
            "launch.train", f"run=run{ranks}", *tiny, *rates, "--init=weights:gaussian", NETWORK, ranks=ranks
        )
        assert done.returncode == 0, done.stderr
        saved = load_checkpoint(tmp_path / f"run{ranks}" / "checkpoints" / "000000000004.pt")
        for kind in ("network", "ema"):
            assert all(torch.allclose(saved[kind][key], first[key], atol=1e-6) for key in first)
        about = json.loads((tmp_path / f"run{ranks}" / "about.json").read_text())["starts"][0]["init"]
        assert (about["name"], about["sha256"]) == ("weights:gaussian", shipped.shipped()["gaussian"].sha256)
    done = run_verb("launch.train", "--run", "third", *tiny, *rates, "--init=run0", NETWORK)
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "third" / "about.json").read_text())["starts"][0]["init"]
    newest = tmp_path / "run0" / "checkpoints" / "000000000004.pt"
    sha256 = hashlib.sha256(newest.read_bytes()).hexdigest()
    assert about == {"name": "run0", "file": str(newest), "sha256": sha256, "images": 4}
    done = run_verb("launch.train", "--run", "third", *tiny, *rates, "--init=run0", NETWORK, "--train.images=8")
    assert done.returncode == 0, done.stderr  # what was begun with is known after a resumption, and of what is exported
    for what in ("third", "third.safetensors"):
        done = run_verb("launch.export", what, "--format", "safetensors", "--out", f"{what}.safetensors")
        assert done.returncode == 0, done.stderr
        page = (tmp_path / f"{what}.safetensors.md").read_text()
        assert f"| began with | weights of SHA-256 {sha256[:16]}, after 4 training samples |" in page
        assert str(tmp_path) not in page
    for name, told in (("weights:none", "no such weights"), ("nowhere", "no such checkpoint")):
        done = run_verb("launch.train", "--run", "other", *tiny, f"--init={name}")
        assert done.returncode == 2
        assert told in done.stderr
    for other in ("nafnet_small", "unet"):
        done = run_verb("launch.train", "--run", "other", *tiny, "--init=gaussian", f"--network.name={other}")
        assert done.returncode == 2
        assert "weights of another network" in done.stderr
        assert "set network.name=drunet" in done.stderr
    # The residual U-Net has the layers of the plain one, and would be loaded into it without a word.
    done = run_verb("launch.train", "--run", "other", *tiny, "--init=camera", "--network.name=unet")
    assert done.returncode == 2
    assert "set network.name=unet_residual" in done.stderr
