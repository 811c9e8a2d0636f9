"""Tiles without seams."""

import pytest
import torch

from model import tiling
from model.tiling import denoise_tiled
from model.unet import UNet


@pytest.mark.parametrize("size", [(64, 64), (200, 470), (450, 65), (97, 1)])
def test_tiled_equals_untiled(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net, noisy = UNet().eval(), torch.rand(3, *size)
    with torch.no_grad():
        whole = net(noisy[None])[0]
    tiled = denoise_tiled(net, noisy, tile=64)
    assert tiled.shape == whole.shape
    assert torch.allclose(tiled, whole, atol=1e-5)


def test_less_context_leaves_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin that must fail."""
    monkeypatch.setattr(tiling, "CONTEXT", 32)
    torch.manual_seed(0)
    net, noisy = UNet().eval(), torch.rand(3, 64, 470)
    with torch.no_grad():
        whole = net(noisy[None])[0]
    assert not torch.allclose(denoise_tiled(net, noisy, tile=64), whole, atol=1e-5)


@pytest.mark.parametrize("batch", [2, 5])
def test_tiles_in_batches_are_the_same(batch: int) -> None:
    torch.manual_seed(0)
    net, noisy, seen = UNet().eval(), torch.rand(3, 64, 900), []

    def counting(views: torch.Tensor) -> torch.Tensor:
        seen.append(len(views))
        return net(views)

    one = denoise_tiled(net, noisy, tile=64)
    assert torch.allclose(denoise_tiled(counting, noisy, tile=64, batch=batch), one, atol=1e-5)
    assert max(seen) == batch
