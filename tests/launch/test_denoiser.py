"""The denoiser: however it is put to use, the same picture comes out."""

import torch

from launch.denoiser import Denoiser, Inference
from model.unet import UNet


def test_bfloat16_and_tiles_are_the_same_to_their_rounding() -> None:
    torch.manual_seed(0)
    net, noisy = UNet(), torch.rand(3, 70, 90)
    exact = Denoiser(net, torch.device("cpu"))(noisy)
    tiled = Denoiser(net, torch.device("cpu"), inference=Inference(tile=32, batch=2))(noisy)
    rounded = Denoiser(net, torch.device("cpu"), inference=Inference(bfloat16=True))(noisy)
    assert torch.allclose(tiled, exact, atol=1e-5)
    assert 1e-5 < (rounded - exact).abs().max() < 5e-2
