"""The denoiser: what it puts out is encoded as what it was shown, also where its network puts out linear light."""

import torch

from launch.denoiser import Denoiser
from model.unet import UNet
from pipeline.corruptions.camera import to_srgb


def test_linear_output_is_encoded() -> None:
    noisy = torch.rand(3, 32, 32)
    net = UNet()
    plain, camera = Denoiser(net, torch.device("cpu")), Denoiser(net, torch.device("cpu"), corruption="camera")
    assert torch.equal(camera(noisy), to_srgb(plain(noisy)))
    assert not torch.equal(camera(noisy), plain(noisy))
