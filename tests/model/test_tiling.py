"""Tiles without seams."""

import pytest
import torch

from model.network import Network, NetworkConfig, Reach
from model.tiling import denoise_tiled
from model.zoo import NETWORKS, make_network


def network(name: str = "unet") -> Network:
    """One whose every weight says something: some begin as nothing."""
    torch.manual_seed(0)
    net = make_network(NetworkConfig(name=name)).eval()  # type: ignore[arg-type]
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(70, 230), (97, 1)])
@torch.no_grad()
def test_tiled_equals_untiled(name: str, size: tuple[int, int]) -> None:
    net, noisy = network(name), torch.rand(3, *size)
    whole = net(noisy[None])[0]
    tiled = denoise_tiled(net, noisy, net.reach, tile=64)
    assert tiled.shape == whole.shape
    assert torch.allclose(tiled, whole, atol=1e-5)


@torch.no_grad()
def test_tiles_both_ways() -> None:
    net, noisy = network(), torch.rand(3, 450, 200)
    assert torch.allclose(denoise_tiled(net, noisy, net.reach, tile=64), net(noisy[None])[0], atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_less_context_leaves_seams(name: str) -> None:
    """The twin that must fail."""
    net, noisy = network(name), torch.rand(3, 64, 230)
    multiple = net.reach.multiple
    whole, seen = net(noisy[None])[0], denoise_tiled(net, noisy, Reach(multiple, multiple), tile=64)
    assert not torch.allclose(seen, whole, atol=1e-5)


@pytest.mark.parametrize("batch", [2, 5])
def test_tiles_in_batches_are_the_same(batch: int) -> None:
    net, noisy, seen = network(), torch.rand(3, 64, 900), []

    def counting(views: torch.Tensor) -> torch.Tensor:
        seen.append(len(views))
        return net(views)

    one = denoise_tiled(net, noisy, net.reach, tile=64)
    assert torch.allclose(denoise_tiled(counting, noisy, net.reach, tile=64, batch=batch), one, atol=1e-5)
    assert max(seen) == batch
