"""EXR frames are denoised in place: radiance is new, everything else is as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launch.denoise_frames import denoise_frames
from launch.frame_denoiser import FrameDenoiser
from pipeline.errors import BadInput
from pipeline.exr.buffers import Patterns, read_frame
from pipeline.exr.container import parse
from pipeline.exr.pixels import decode, encode, with_channels
from pipeline.radiance import auto_exposure
from tests.launch.conftest import save_render

NONE = Patterns({})


@pytest.fixture(scope="module")
def denoiser(render_run: Path) -> FrameDenoiser:
    return FrameDenoiser.load(render_run)


def color(path: Path) -> Any:
    return read_frame(parse(path.read_bytes(), path)).buffers["color"]


def alone(denoiser: FrameDenoiser, path: Path, exposure: float) -> Any:
    return denoiser(read_frame(parse(path.read_bytes(), path)).buffers, exposure)


def test_only_the_radiance_changes(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    save_render(tmp_path / "in/shot.0007.exr", 1, 1)
    summary = denoise_frames(denoiser, [tmp_path / "in"], tmp_path / "out", NONE)
    assert str(summary) == "1 frames denoised"
    before, after = (parse((tmp_path / side / "shot.0007.exr").read_bytes(), side) for side in ("in", "out"))
    assert before.headers == after.headers
    old, new = decode(before, 0), decode(after, 0)
    for name in old:
        assert (old[name].tobytes() == new[name].tobytes()) == (name not in "RGB"), name
    exposure = auto_exposure(color(tmp_path / "in/shot.0007.exr"))
    wanted = alone(denoiser, tmp_path / "in/shot.0007.exr", exposure)
    assert np.array_equal(color(tmp_path / "out/shot.0007.exr"), wanted.astype(np.float16))  # half stays half


def test_one_exposure_for_a_sequence(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    for number, scale in ((1, 1.0), (2, 4.0)):
        save_render(tmp_path / f"in/shot.000{number}.exr", 1, number, scale=scale)
    save_render(tmp_path / "in/other.0001.exr", 1, 3)
    summary = denoise_frames(denoiser, [tmp_path / "in/shot.####.exr"], tmp_path / "out", NONE)
    assert summary.frames == 2
    paths = [tmp_path / f"in/shot.000{number}.exr" for number in (1, 2)]
    exposures = [auto_exposure(color(path)) for path in paths]
    assert exposures[0] > 3 * exposures[1]
    shared = float(np.sqrt(exposures[0] * exposures[1]))
    for path in paths:
        wanted = alone(denoiser, path, shared).astype(np.float16)
        assert np.array_equal(color(tmp_path / "out" / path.name), wanted)


def test_the_denoised_realisations_of_a_frame_are_averaged(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    for number, name in enumerate(("a_8spp", "b_24spp", "ref_512spp")):
        save_render(tmp_path / f"in/shot_{name}.0001.exr", 1, number, kind=np.float32)
    summary = denoise_frames(denoiser, [tmp_path / "in"], tmp_path / "out", NONE, exposure=0.7)
    assert summary.averaged == 1
    assert "shot_ref_512spp.0001.exr: a reference" in str(summary)
    first, second = (alone(denoiser, tmp_path / f"in/shot_{name}.0001.exr", 0.7) for name in ("a_8spp", "b_24spp"))
    assert np.allclose(color(tmp_path / "out/shot.0001.exr"), (8 * first + 24 * second) / 32, rtol=1e-5)


def test_separate_files_by_buffer(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    save_render(tmp_path / "whole.exr", 1, 1)
    layers = decode(parse((tmp_path / "whole.exr").read_bytes(), ""), 0)
    (tmp_path / "in").mkdir()
    for word, names in (("hdr", "R G B"), ("alb", "albedo.R albedo.G albedo.B"), ("nrm", "normal.X normal.Y normal.Z")):
        planes = dict(zip("RGB", (layers[name] for name in names.split()), strict=True))
        (tmp_path / f"in/shot_0012.{word}.exr").write_bytes(encode(planes))
    denoise_frames(denoiser, [tmp_path / "in"], tmp_path / "out", NONE, exposure=1.0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shot_0012.hdr.exr"]
    wanted = alone(denoiser, tmp_path / "whole.exr", 1.0).astype(np.float16)
    assert np.array_equal(color(tmp_path / "out/shot_0012.hdr.exr"), wanted)


def test_pixels_that_are_not_finite_are_filled_and_counted(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    save_render(tmp_path / "in/shot.exr", 1, 1)
    file = parse((tmp_path / "in/shot.exr").read_bytes(), "")
    channels = decode(file, 0)
    red, albedo = channels["R"].copy(), channels["albedo.G"].copy()
    red[5, 5], red[20, 30], albedo[9, 9] = np.nan, np.inf, np.nan
    (tmp_path / "in/shot.exr").write_bytes(with_channels(file, 0, channels, {"R": red, "albedo.G": albedo}))
    summary = denoise_frames(denoiser, [tmp_path / "in/shot.exr"], tmp_path / "out", NONE)
    assert summary.filled_pixels == 2
    assert "2 pixels of NaN or infinity filled" in str(summary)
    assert np.isfinite(color(tmp_path / "out/shot.exr")).all()
    after = decode(parse((tmp_path / "out/shot.exr").read_bytes(), ""), 0)
    assert np.isnan(after["albedo.G"][9, 9])  # what is not ours stays as it was


def test_outputs_never_meet_inputs_or_each_other(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    for folder in ("x", "y"):
        save_render(tmp_path / folder / "shot.exr", 1, 1)
    before = (tmp_path / "x/shot.exr").read_bytes()
    with pytest.raises(BadInput, match="would overwrite the input"):
        denoise_frames(denoiser, [tmp_path / "x"], tmp_path / "x", NONE)
    with pytest.raises(BadInput, match="two frames of one name"):
        denoise_frames(denoiser, [tmp_path / "x", tmp_path / "y"], tmp_path / "out", NONE)
    assert (tmp_path / "x/shot.exr").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_missing_buffer_can_be_named(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    save_render(tmp_path / "in/shot.exr", 1, 1)
    channels = decode(parse((tmp_path / "in/shot.exr").read_bytes(), ""), 0)
    renamed = {name.replace("albedo.", "house_a1."): plane for name, plane in channels.items()}
    (tmp_path / "in/shot.exr").write_bytes(encode(renamed))
    with pytest.raises(BadInput, match=r"also albedo(.|\n)*--channels"):
        denoise_frames(denoiser, [tmp_path / "in"], tmp_path / "out", NONE)
    assert not list((tmp_path / "out").glob("*"))
    denoise_frames(denoiser, [tmp_path / "in"], tmp_path / "out", Patterns.parse(["albedo=house_a1.[RGB]"]))
    assert len(list((tmp_path / "out").glob("*"))) == 1


def test_a_damaged_frame_leaves_nothing_half_written(denoiser: FrameDenoiser, tmp_path: Path) -> None:
    for number in (1, 2):
        save_render(tmp_path / f"in/shot.000{number}.exr", 1, number)
    path = tmp_path / "in/shot.0002.exr"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"damaged OpenEXR file(.|\n)*shot\.0002\.exr"):
        denoise_frames(denoiser, [tmp_path / "in"], tmp_path / "out", NONE, exposure=1.0)
    for written in (tmp_path / "out").glob("*"):
        color(written)


def test_by_the_command_line(
    render_run: Path, trained: Path, tmp_path: Path, run_verb: Callable[..., Any], pictures: Path
) -> None:
    save_render(tmp_path / "in/shot.0001.exr", 1, 1)
    done = run_verb("launch.denoise", render_run, tmp_path / "in/shot.####.exr", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 frames denoised" in done.stdout
    wrong = [
        ([render_run, pictures], "no EXR file"),
        ([render_run, tmp_path / "in", "--exposure", 0], "no factor"),
        ([trained, pictures, "--exposure", 1], "an option for EXR frames"),
    ]
    for arguments, message in wrong:
        done = run_verb("launch.denoise", *arguments, "--out", tmp_path / "other")
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
