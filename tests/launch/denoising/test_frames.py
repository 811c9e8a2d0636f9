"""EXR frames are denoised in place: radiance is new, everything else is as it was."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from launch import denoise
from launch.denoiser import Inference
from launch.denoising.asked_files import asked_files
from launch.denoising.files import denoise_all
from launch.denoising.frames import FramesWork, load, plan_frames
from launch.denoising.journal import NAME, Journal
from launch.frame_denoiser import FrameDenoiser
from launch.world import World
from model.unet import UNet
from pipeline.errors import BadInput
from pipeline.exr.buffers import Patterns, read_frame
from pipeline.exr.container import parse
from pipeline.exr.pixels import decode, encode, with_channels
from pipeline.radiance import RendersConfig, auto_exposure
from pipeline.sources.renders import list_frames
from tests.launch.conftest import save_render


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Denoise = Callable[..., Ended]

NONE = Patterns({})


@pytest.fixture(scope="module")
def denoiser(render_run: Path) -> FrameDenoiser:
    return FrameDenoiser.load(render_run)


@pytest.fixture
def run(
    render_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Denoise:
    """`n2n denoise RUN ARGUMENTS --out out` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def ended(*arguments: object) -> Ended:
        capsys.readouterr()
        code = 0
        try:
            denoise.main([str(render_run), *map(str, arguments), "--out", "out"])
        except SystemExit as error:
            code = int(str(error.code))
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return ended


def color(path: Path) -> Any:
    return read_frame(parse(path.read_bytes(), path)).buffers["color"]


def alone(denoiser: FrameDenoiser, path: Path, exposure: float) -> Any:
    return denoiser(read_frame(parse(path.read_bytes(), path)).buffers, exposure)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {NAME}


def stamps(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in names(folder)}


def rewritten(path: Path, **changed: Any) -> None:
    """The same file with other values in some channels."""
    file = parse(path.read_bytes(), "")
    path.write_bytes(with_channels(file, 0, decode(file, 0), changed))


def test_only_the_radiance_changes(run: Denoise, denoiser: FrameDenoiser, tmp_path: Path) -> None:
    save_render(tmp_path / "in/shot.0007.exr", 1, 1)
    assert run("in") == (0, "1 denoised, in out\n", "")
    before, after = (parse((tmp_path / side / "shot.0007.exr").read_bytes(), side) for side in ("in", "out"))
    assert before.headers == after.headers
    old, new = decode(before, 0), decode(after, 0)
    for name in old:
        assert (old[name].tobytes() == new[name].tobytes()) == (name not in "RGB"), name
    exposure = auto_exposure(color(tmp_path / "in/shot.0007.exr"))
    wanted = alone(denoiser, tmp_path / "in/shot.0007.exr", exposure)
    assert np.array_equal(color(tmp_path / "out/shot.0007.exr"), wanted.astype(np.float16))  # half stays half


@pytest.mark.parametrize("sequence", ["in/shot.####.exr", "in/shot.%04d.exr", "in/shot.*.exr"])
def test_one_exposure_for_a_sequence(run: Denoise, denoiser: FrameDenoiser, tmp_path: Path, sequence: str) -> None:
    for number, scale in ((1, 1.0), (2, 4.0)):
        save_render(tmp_path / f"in/shot.000{number}.exr", 1, number, scale=scale)
    save_render(tmp_path / "in/other.0001.exr", 1, 3)
    assert run(sequence).out == "2 denoised, in out\n"
    paths = [tmp_path / f"in/shot.000{number}.exr" for number in (1, 2)]
    exposures = [auto_exposure(color(path)) for path in paths]
    assert exposures[0] > 3 * exposures[1]
    shared = float(np.sqrt(exposures[0] * exposures[1]))
    for path in paths:
        wanted = alone(denoiser, path, shared).astype(np.float16)
        assert np.array_equal(color(tmp_path / "out" / path.name), wanted)


def test_the_denoised_realisations_of_a_frame_are_averaged(
    run: Denoise, denoiser: FrameDenoiser, tmp_path: Path
) -> None:
    for number, name in enumerate(("a_8spp", "b_24spp", "ref_512spp")):
        save_render(tmp_path / f"in/shot_{name}.0001.exr", 1, number, kind=np.float32)
    done = run("in", "--exposure", 0.7)
    assert done.code == 0, done.err
    assert "1 of the frames of several realisations" in done.out
    assert "shot_ref_512spp.0001.exr: a reference" in done.out
    first, second = (alone(denoiser, tmp_path / f"in/shot_{name}.0001.exr", 0.7) for name in ("a_8spp", "b_24spp"))
    assert np.allclose(color(tmp_path / "out/shot.0001.exr"), (8 * first + 24 * second) / 32, rtol=1e-5)
    os.utime(tmp_path / "in/shot_b_24spp.0001.exr")  # a second source is one, too
    assert "1 denoised" in run("in", "--exposure", 0.7).out
    assert "1 were finished before" in run("in", "--exposure", 0.7).out


def test_separate_files_by_buffer(run: Denoise, denoiser: FrameDenoiser, tmp_path: Path) -> None:
    save_render(tmp_path / "whole.exr", 1, 1)
    layers = decode(parse((tmp_path / "whole.exr").read_bytes(), ""), 0)
    (tmp_path / "in").mkdir()
    for word, channels in (
        ("hdr", "R G B"),
        ("alb", "albedo.R albedo.G albedo.B"),
        ("nrm", "normal.X normal.Y normal.Z"),
    ):
        planes = dict(zip("RGB", (layers[name] for name in channels.split()), strict=True))
        (tmp_path / f"in/shot_0012.{word}.exr").write_bytes(encode(planes))
    assert run("in", "--exposure", 1).code == 0
    assert names(tmp_path / "out") == {"shot_0012.hdr.exr"}
    wanted = alone(denoiser, tmp_path / "whole.exr", 1.0).astype(np.float16)
    assert np.array_equal(color(tmp_path / "out/shot_0012.hdr.exr"), wanted)
    # Without radiance there is nothing to denoise, which is told and is a failure.
    (tmp_path / "in/shot_0013.alb.exr").write_bytes((tmp_path / "in/shot_0012.alb.exr").read_bytes())
    done = run("in", "--exposure", 1)
    assert (done.code, done.out) == (2, "0 denoised, in out; 1 were finished before; 1 failed\n")
    assert "shot_0013.alb.exr: no radiance of the same realisation" in done.err


def test_pixels_that_are_not_finite_are_filled_and_counted(run: Denoise, tmp_path: Path) -> None:
    save_render(tmp_path / "in/shot.exr", 1, 1)
    channels = decode(parse((tmp_path / "in/shot.exr").read_bytes(), ""), 0)
    red, albedo = channels["R"].copy(), channels["albedo.G"].copy()
    red[5, 5], red[20, 30], albedo[9, 9] = np.nan, np.inf, np.nan
    rewritten(tmp_path / "in/shot.exr", **{"R": red, "albedo.G": albedo})
    done = run("in/shot.exr")
    assert done.out == "1 denoised, in out; 2 samples of NaN or infinity filled\n"
    assert "note: in/shot.exr: 2 samples were NaN or infinite" in done.err
    assert np.isfinite(color(tmp_path / "out/shot.exr")).all()
    after = decode(parse((tmp_path / "out/shot.exr").read_bytes(), ""), 0)
    assert np.isnan(after["albedo.G"][9, 9])  # what is not ours stays as it was


def test_outputs_never_meet_inputs_or_each_other(run: Denoise, tmp_path: Path) -> None:
    for folder in ("x", "y", "out"):
        save_render(tmp_path / folder / "shot.exr", 1, 1)
    before = (tmp_path / "out/shot.exr").read_bytes()
    with pytest.raises(BadInput, match="would overwrite the input"):
        run("out")
    with pytest.raises(BadInput, match="two pictures of one name"):
        run("x", "y")
    (tmp_path / "out/shot.exr").rename(tmp_path / "out/x.exr")
    for several in ("z/a/x.exr",), ("z/a/x_a.exr", "z/a/x_b.exr"):
        for name in (*several, "out/a/x.exr"):
            save_render(tmp_path / name, 1, 1)
        with pytest.raises(BadInput, match="would overwrite the input"):
            run("z", "out/a/x.exr")
        shutil.rmtree(tmp_path / "z")
    assert (tmp_path / "out/x.exr").read_bytes() == before
    assert names(tmp_path / "out") == {"x.exr", "a/x.exr"}


def test_folders_keep_their_order_and_results_within_are_no_sources(run: Denoise, tmp_path: Path) -> None:
    for name in ("a/shot.exr", "b/shot.exr"):
        save_render(tmp_path / name, 1, 1)
    (tmp_path / "a/notes.png").touch()
    for words in ("2 denoised, in out; 1 other", "0 denoised, in out; 2 were finished before; 1 other"):
        assert words in run(".").out
    assert names(tmp_path / "out") == {"a/shot.exr", "b/shot.exr"}


def test_a_missing_buffer_can_be_named(run: Denoise, tmp_path: Path) -> None:
    save_render(tmp_path / "in/shot.exr", 1, 1)
    channels = decode(parse((tmp_path / "in/shot.exr").read_bytes(), ""), 0)
    renamed = {name.replace("albedo.", "house_a1."): plane for name, plane in channels.items()}
    (tmp_path / "in/shot.exr").write_bytes(encode(renamed))
    done = run("in")
    assert done.code == 2
    assert "also albedo" in done.err
    assert "--channels" in done.err
    assert not (tmp_path / "out").exists()
    assert run("in", "--channels", "albedo=house_a1.[RGB]").code == 0
    assert names(tmp_path / "out") == {"shot.exr"}


def test_a_damaged_frame_does_not_end_the_sequence(run: Denoise, tmp_path: Path) -> None:
    """It is told, once; the others are done, and stay as they are when it has been rendered again."""
    for number in (1, 2, 3):
        save_render(tmp_path / f"in/shot.000{number}.exr", 1, number)
    path = tmp_path / "in/shot.0002.exr"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    done = run("in")
    assert (done.code, done.out) == (2, "2 denoised, in out; 1 failed\n")
    assert done.err.count("error: ") == 1
    assert "a damaged OpenEXR file" in done.err
    assert "shot.0002.exr" in done.err
    assert names(tmp_path / "out") == {"shot.0001.exr", "shot.0003.exr"}
    before = stamps(tmp_path / "out")
    path.write_bytes(whole)
    assert run("in") == (0, "1 denoised, in out; 2 were finished before\n", "")
    save_render(tmp_path / "in/shot.0004.exr", 1, 4, scale=9)  # and a sequence may grow
    assert run("in").out == "1 denoised, in out; 3 were finished before\n"
    assert before.items() <= stamps(tmp_path / "out").items()
    lines = (tmp_path / "out" / NAME).read_text().splitlines()
    assert len({line.rpartition(",")[2] for line in lines}) == 1, "one exposure"
    assert run("in", "--exposure", 3).out == "4 denoised, in out\n"
    assert run("in", "--again").out == "4 denoised, in out\n"


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty.exr": (lambda path: path.write_bytes(b""), "no OpenEXR file"),
    "text.exr": (lambda path: path.write_text("no frame"), "no OpenEXR file"),
    "picture.exr": (lambda path: Image.new("RGB", (9, 9)).save(path, "PNG"), "no OpenEXR file"),
    "picture.png": (lambda path: Image.new("RGB", (9, 9)).save(path), "picture.png: by its name no OpenEXR file"),
    "dark.exr": (lambda path: path.write_bytes(encode({"Z": np.ones((9, 9), np.float32)})), "no radiance"),
    "whole.exr": (
        lambda path: path.write_bytes(encode({name: np.ones((9, 9), np.uint32) for name in "RGB"})),
        "color of whole numbers",
    ),
    "nan.exr": (
        lambda path: path.write_bytes(encode({name: np.full((9, 9), np.nan, np.float32) for name in "RGB"})),
        "a frame without a number in it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames_are_told_and_the_others_done(name: str, run: Denoise, tmp_path: Path) -> None:
    make, told = BAD[name]
    save_render(tmp_path / "in/good.exr", 1, 1)
    make(tmp_path / "in" / name)
    done = run("in/good.exr", f"in/{name}")
    assert (done.code, done.out) == (2, "1 denoised, in out; 1 failed\n")
    assert done.err.count("error: ") == 1
    assert told in done.err
    assert names(tmp_path / "out") == {"good.exr"}


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_a_pixel_a_row_and_a_column(shape: tuple[int, int], run: Denoise, tmp_path: Path) -> None:
    channels = ("R", "G", "B", *(f"albedo.{c}" for c in "RGB"), *(f"normal.{c}" for c in "XYZ"))
    planes = {name: np.full(shape, 0.5, np.float32) for name in (*channels, *(f"light{n}.R" for n in range(100)))}
    (tmp_path / "small.exr").write_bytes(encode(planes))
    assert run("small.exr", "--self-ensemble").code == 0
    assert color(tmp_path / "out/small.exr").shape == (3, *shape)
    assert np.isfinite(color(tmp_path / "out/small.exr")).all()


def test_every_option_has_its_effect(run: Denoise, render_run: Path, tmp_path: Path) -> None:
    save_render(tmp_path / "shot.exr", 1, 1, kind=np.float32)
    results = {}
    for words in ("", "--tile 32 --tile-batch 2", "--bfloat16", "--self-ensemble"):
        assert run("shot.exr", "--again", *words.split(), "--compare", "compare").code == 0
        results[words] = color(tmp_path / "out/shot.exr")
    plain, tiled, rounded, ensemble = results.values()
    assert 0 < np.abs(tiled / plain - 1).max() < 1e-3, "computed in tiles, which differ by rounding"
    assert 1e-4 < np.abs(rounded / plain - 1).max() < 0.3
    mirrored = {name: planes[:, :, ::-1] for name, planes in load_shot(tmp_path / "shot.exr").items()}
    four = FrameDenoiser.load(render_run, inference=Inference(self_ensemble=True))
    exposure = auto_exposure(color(tmp_path / "shot.exr"))
    assert np.array_equal(ensemble, four(load_shot(tmp_path / "shot.exr"), exposure))
    padded = {name: np.pad(planes, [(0, 0), (0, 24), (0, 8)]) for name, planes in mirrored.items()}
    straight = {name: planes[:, :, ::-1] for name, planes in padded.items()}
    assert np.allclose(four(padded, exposure), four(straight, exposure)[:, :, ::-1], rtol=1e-3)
    assert not np.allclose(plain, ensemble, rtol=1e-3)
    with Image.open(tmp_path / "compare/shot.exr.png") as image:
        assert image.width > 2 * 56
    with pytest.raises(BadInput, match="an option for pictures"):
        run("shot.exr", "--white", 1)


def load_shot(path: Path) -> Any:
    return load(list_frames([path]).frames[0].realisations[0], NONE).render.buffers


def test_ranks_share_the_frames(
    run_verb: Any, render_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same bytes, in one exposure, also where one is damaged."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # of each process: another number of threads rounds differently
    for number in range(5):
        save_render(tmp_path / f"in/shot.{number:04d}.exr", 1, number, scale=1 + number)
    (tmp_path / "in/shot.0003.exr").write_bytes(b"no frame")
    alone = run_verb("launch.denoise", render_run, "in", "--out", "one")
    shared = run_verb("launch.denoise", render_run, "in", "--out", "two", ranks=2)
    for done, out in ((alone, "one"), (shared, "two")):
        assert done.returncode != 0
        assert f"4 denoised, in {out}; 1 failed" in done.stdout, done.stderr
        assert done.stderr.count("a damaged OpenEXR file") == 1
    assert len((tmp_path / "two" / NAME).read_text().splitlines()) == 4
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_where_it_was(
    how: signal.Signals, run: Denoise, render_run: Path, tmp_path: Path, child_environment: Any
) -> None:
    for number in range(40):
        save_render(tmp_path / f"in/shot.{number:04d}.exr", 1, number, scale=1 + number)
    command = [sys.executable, "-m", "launch.denoise", str(render_run), "in", "--out", "out"]
    journal = tmp_path / "out" / NAME
    with subprocess.Popen(
        command, cwd=tmp_path, env=child_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (journal.exists() and len(journal.read_bytes().splitlines()) > 2):
            time.sleep(0.001)
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    before = len(journal.read_bytes().splitlines())
    assert 2 < before < 40
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "run the same command again" in err
        assert "Traceback" not in err
        assert len(names(tmp_path / "out")) == before, "what is written is in the journal, and nothing is half-written"
    stamped = stamps(tmp_path / "out")
    done = run("in")
    assert (done.code, done.out) == (0, f"{40 - before} denoised, in out; {before} were finished before\n")
    assert names(tmp_path / "out") == {f"shot.{number:04d}.exr" for number in range(40)}
    assert (
        sum(stamps(tmp_path / "out")[name] == stamp for name, stamp in stamped.items() if name[-4:] == ".exr") >= before
    )
    # Every frame is what a run that nobody stopped makes of it.
    bytes_of = {name: (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out")}
    assert run("in", "--again").out == "40 denoised, in out\n"
    assert bytes_of == {name: (tmp_path / "out" / name).read_bytes() for name in bytes_of}


def test_a_disk_that_refuses_one_frame_gets_the_others(
    render_run: Path, tmp_path: Path, child_environment: Any
) -> None:
    """A limit on the sizes of files answers as a full disk does; the result of floats alone is above it."""
    for number in range(3):
        save_render(tmp_path / f"in/shot.{number:04d}.exr", 1, number, kind=np.float32 if number == 1 else np.float16)
    small, large = ((tmp_path / f"in/shot.{number:04d}.exr").stat().st_size for number in (0, 1))
    limit = (small + large) // 2 // 1024
    command = [sys.executable, "-m", "launch.denoise", str(render_run), "in", "--out", "out"]
    limited = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=tmp_path, env=child_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == "2 denoised, in out; 1 failed\n"
    assert done.stderr.count("the disk refused") == done.stderr.count("error: ") == 1
    assert names(tmp_path / "out") == {"shot.0000.exr", "shot.0002.exr"}


def test_frames_that_may_not_be_read_or_written(commoner: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.exr", "y.exr"):
        save_render(commoner / name, 1, 1)
    (commoner / "x.exr").chmod(0)
    (commoner / "locked").mkdir(mode=0o500)
    denoiser = FrameDenoiser(UNet(), RendersConfig(), torch.device("cpu"))
    for out, done in (("out", 1), ("locked", 0)):
        plan, frames = plan_frames(asked_files(map(str, sorted(commoner.glob("*.exr"))), commoner / out, {".exr"}))
        work, journal = FramesWork(denoiser, frames, NONE, 1.0), Journal(commoner / out, "")
        counts = denoise_all(plan, work, journal, World(0, 1, torch.device("cpu")))
        assert (counts["new"], counts["failed"]) == (done, 2 - done)
        told = capsys.readouterr().err
        assert told.count("a render cannot be read") == 1
        assert told.count("the disk refused") == 1 - done


def test_a_frame_through_a_pipe(run: Denoise, render_run: Path, tmp_path: Path, child_environment: Any) -> None:
    save_render(tmp_path / "shot.exr", 1, 1)
    assert run("shot.exr").code == 0
    command = [sys.executable, "-m", "launch.denoise", str(render_run), "-", "--out", "-"]
    data = (tmp_path / "shot.exr").read_bytes()
    piped = subprocess.run(command, input=data, env=child_environment, capture_output=True, check=True)
    assert piped.stdout == (tmp_path / "out/shot.exr").read_bytes()
    piped = subprocess.run(command, input=b"no frame", env=child_environment, capture_output=True, check=False)
    assert (piped.returncode, piped.stdout) == (2, b"")
    assert b"no OpenEXR file" in piped.stderr
    assert b"Traceback" not in piped.stderr
    assert not (tmp_path / "-").exists()


def test_by_the_command_line(
    render_run: Path, trained: Path, tmp_path: Path, run_verb: Callable[..., Any], pictures: Path
) -> None:
    save_render(tmp_path / "in/shot.0001.exr", 1, 1)
    done = run_verb("launch.denoise", render_run, tmp_path / "in/shot.####.exr", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 denoised" in done.stdout
    wrong = [
        ([render_run, pictures], "no pictures"),
        ([render_run, tmp_path / "in/none.exr"], "no such source"),
        ([render_run, tmp_path / "in/none.####.exr"], "nothing fits the pattern"),
        ([render_run, tmp_path / "in", "--exposure", 0], "not positive"),
        ([render_run, tmp_path / "in", "--channels", "colour"], "not a mapping of channels"),
        ([render_run, tmp_path / "in/shot.0001.exr", "--tile", 0], "tile 0"),
        ([trained, pictures, "--exposure", 1], "an option for EXR frames"),
        ([trained, tmp_path / "in/shot.0001.exr"], "an OpenEXR frame for a denoiser of pictures"),
    ]
    for arguments, message in wrong:
        done = run_verb("launch.denoise", *arguments, "--out", tmp_path / "other")
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("error: ") == 1
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "other").exists()
