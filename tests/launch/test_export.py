"""Denoisers for other programs: the same numbers for any size, and a card that says what they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from launch import denoise, export
from launch.denoiser import Denoiser
from launch.exporting.portable import Portable
from launch.exporting.portable_frame import PortableFrame
from launch.frame_denoiser import FrameDenoiser
from launch.trained import Trained
from model.network import NetworkConfig
from model.unet import UNet
from pipeline.errors import BadInput
from pipeline.radiance import RendersConfig
from tests.launch.conftest import save_render

SIZES = [(1, 3, 40, 64), (2, 3, 97, 33), (1, 3, 1, 7)]


def denoised(denoiser: Denoiser, noisy: torch.Tensor) -> torch.Tensor:
    return torch.stack([denoiser(picture) for picture in noisy])


@torch.no_grad()
def test_the_graph_has_padding_inside() -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(UNet(), torch.device("cpu"))
    portable = Portable(denoiser.net)
    for size in SIZES:
        noisy = torch.rand(size)
        assert torch.allclose(portable(noisy), denoised(denoiser, noisy), atol=1e-5)


def test_onnx_for_any_size(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    scores = {"denoiser": "d", "noise": "gaussian", "images": [1, 2]}
    scores["mean"] = {"psnr_noisy_srgb_db": 20.17, "psnr_srgb8_db": 31.22, "ssim_srgb8": 0.8554}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    out = tmp_path / "new" / "net.onnx"
    arguments = ["--format", "onnx", "--out", str(out), "--scores", str(tmp_path / "scores.json")]
    export.main([str(trained), *arguments, "--licence", "CC0-1.0"])
    assert "differs from PyTorch by" in capsys.readouterr().out
    session, denoiser = onnxruntime.InferenceSession(out), Denoiser.load(trained)
    for size in SIZES:
        noisy = torch.rand(size)
        (got,) = session.run(["denoised"], {"noisy": noisy.numpy()})
        assert torch.allclose(torch.from_numpy(got), denoised(denoiser, noisy), atol=1e-5)
    card = (tmp_path / "new" / "net.onnx.md").read_text()
    for fact in ("991,203", "gaussian", "| 24 |", "CC0-1.0", "31.22", "0.8554"):
        assert fact in card, card


def test_torch_export_for_any_size(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.pt2"
    export.main([str(trained), "--format", "torch", "--out", str(out)])
    module, denoiser = torch.export.load(out).module(), Denoiser.load(trained)
    for size in SIZES:
        noisy = torch.rand(size)
        assert torch.allclose(module(noisy), denoised(denoiser, noisy), atol=1e-5)


def test_safetensors_are_a_denoiser_again(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    out = tmp_path / "net.safetensors"
    export.main([str(trained), "--format", "safetensors", "--out", str(out)])
    noisy = torch.rand(3, 40, 50)
    assert torch.equal(Denoiser.load(out)(noisy), Denoiser.load(trained)(noisy))
    assert Denoiser.load(out).corruption == "gaussian"
    whole = out.read_bytes()
    for data in (whole[:1000], whole[:-9], b"", b"text"):
        out.write_bytes(data)
        with pytest.raises(BadInput, match="not a file of weights"):
            Denoiser.load(out)
    with pytest.raises(BadInput, match="cannot be read"):
        Denoiser.load(tmp_path / "none.safetensors")


def test_what_differs_is_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    other = Trained(net=UNet())
    monkeypatch.setitem(export.FORMATS, "safetensors", lambda trained: (b"", export.portable_of(other)))
    with pytest.raises(BadInput, match="not the same"):
        export.main([str(trained), "--format", "safetensors", "--out", str(tmp_path / "net.safetensors")])
    assert not list(tmp_path.iterdir())


def test_bad_scores_are_told(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("[1")
    arguments = ["--format", "safetensors", "--out", str(tmp_path / "x"), "--scores", str(tmp_path / "scores.json")]
    with pytest.raises(BadInput, match="scores that cannot be read"):
        export.main([str(trained), *arguments])


def test_weights_of_renders_denoise_frames_as_their_run_does(render_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "rooms.safetensors"
    export.main([str(render_run), "--format", "safetensors", "--out", str(out)])
    save_render(tmp_path / "in/shot.0001.exr", 1, 1)
    for name, weights in (("run", render_run), ("weights", out)):
        denoise.main([str(weights), str(tmp_path / "in/shot.0001.exr"), "--out", str(tmp_path / name)])
    run, weights = (tmp_path / name / "shot.0001.exr" for name in ("run", "weights"))
    assert run.read_bytes() == weights.read_bytes()
    card = (tmp_path / "rooms.safetensors.md").read_text()
    assert "radiance, albedo, normal" in card
    assert str(render_run) not in card
    with pytest.raises(BadInput, match="a denoiser of renders"):
        Denoiser.load(out)


@pytest.mark.parametrize("transfer", ["reinhard", "log", "pu"])
@pytest.mark.parametrize("buffers", [(), ("albedo", "normal", "depth")])
def test_a_graph_of_renders_is_what_frames_are_denoised_by(transfer: Any, buffers: Any) -> None:
    """Over radiance from 0 to 60,000, buffers outside their ranges, and both outputs."""
    renders = RendersConfig(transfer=transfer, buffers=buffers, output="log" if buffers else "linear")
    net = UNet(NetworkConfig(in_channels=renders.channels))
    generator = torch.Generator().manual_seed(0)
    planes = 3 * torch.rand(renders.channels, 33, 70, generator=generator) - 1
    planes[:3] = 60_000 * torch.rand(3, 33, 70, generator=generator) ** 8 - 0.1
    color, *rest = torch.split(planes, [3, *([3, 3, 1] if buffers else [])])
    frame = {"color": color.numpy(), **{name: part.numpy() for name, part in zip(buffers, rest, strict=True)}}
    expected = torch.from_numpy(FrameDenoiser(net, renders, torch.device("cpu"))(frame, 1.0))
    with torch.no_grad():
        graph = PortableFrame(net, renders)(planes[None])[0]
    assert torch.allclose(graph, expected, rtol=1e-3, atol=1e-4)


def test_onnx_of_a_denoiser_of_renders(render_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    export.main([str(render_run), "--format", "onnx", "--out", str(tmp_path / "rooms.onnx")])
    session = onnxruntime.InferenceSession(str(tmp_path / "rooms.onnx"), providers=["CPUExecutionProvider"])
    planes = torch.rand(1, 9, 37, 53)
    color, albedo, normal = torch.split(planes[0], 3)
    frame = {"color": color.numpy(), "albedo": albedo.numpy(), "normal": normal.numpy()}
    expected = FrameDenoiser.load(render_run)(frame, 1.0)
    denoised = session.run(None, {"noisy": planes.numpy()})[0][0]
    assert abs(denoised - expected).max() < 1e-4
    assert "log-average luminance to 0.18" in (tmp_path / "rooms.onnx.md").read_text()
