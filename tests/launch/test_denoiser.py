"""The denoiser: what it puts out is encoded as what it was shown, also where its network puts out linear light."""

import torch

from launch.denoiser import Denoiser, Inference
from model.unet import UNet
from pipeline.corruptions.camera import to_srgb


def test_linear_output_is_encoded() -> None:
    noisy = torch.rand(3, 32, 32)
    net = UNet()
    plain, camera = Denoiser(net, torch.device("cpu")), Denoiser(net, torch.device("cpu"), corruption="camera")
    assert torch.equal(camera(noisy), to_srgb(plain(noisy)))
    assert not torch.equal(camera(noisy), plain(noisy))


def test_bfloat16_and_tiles_are_the_same_to_their_rounding() -> None:
    torch.manual_seed(0)
    net, noisy = UNet(), torch.rand(3, 70, 90)
    exact = Denoiser(net, torch.device("cpu"))(noisy)
    tiled = Denoiser(net, torch.device("cpu"), inference=Inference(tile=32, batch=2))(noisy)
    rounded = Denoiser(net, torch.device("cpu"), inference=Inference(bfloat16=True))(noisy)
    assert torch.allclose(tiled, exact, atol=1e-5)
    assert 1e-5 < (rounded - exact).abs().max() < 5e-2
