"""The self-ensemble: a mean of eight, equal in tiles and as a whole."""

import pytest
import torch

from model.ensemble import self_ensemble
from model.tiling import denoise_tiled
from model.unet import UNet


def test_it_is_the_mean_over_the_symmetries() -> None:
    """Of a net that keeps the left edge alone, each pixel of a square is kept by as many as it touches edges."""
    left = torch.zeros(32, 32)
    left[:, 0] = 1
    mean = self_ensemble(lambda x: x * left, 32)(torch.ones(1, 3, 32, 32))
    assert mean[0, 0, 0].tolist() == [0.5, *[0.25] * 30, 0.5]
    assert mean[0, 0, 10].tolist() == [0.25, *[0.0] * 30, 0.25]
    flips = self_ensemble(lambda x: x * left, 32, quarter_turns=False)(torch.ones(1, 3, 32, 32))
    assert flips[0, 0, 0].tolist() == flips[0, 0, 10].tolist() == [0.5, *[0.0] * 30, 0.5]


@pytest.mark.parametrize("size", [(200, 70), (45, 37)])
def test_it_turns_with_the_picture_and_tiles_do_not_show(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net, noisy = self_ensemble(UNet().eval(), UNet.reach.multiple), torch.rand(3, *size)
    with torch.no_grad():
        whole = net(noisy[None])[0]
    assert torch.allclose(denoise_tiled(net, noisy, UNet.reach, tile=64), whole, atol=1e-5)
    padded = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.allclose(net(padded.flip(-1)), net(padded).flip(-1), atol=1e-5)
        assert not torch.allclose(UNet()(padded.flip(-1)), UNet()(padded).flip(-1), atol=1e-5), "the twin"
