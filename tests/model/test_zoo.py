"""Every network: any size in and out, as far-sighted as it says, and trainable from its first weights on."""

import pytest
import torch
from torch import nn

from model.network import NetworkConfig
from model.red30 import Red30
from model.zoo import NETWORKS, make_network

PARAMETERS = {
    "unet": 991_203,
    "unet_residual": 991_203,
    "drunet": 1_752_963,
    "red30": 4_139_395,
    "nafnet": 3_504_291,
    "nafnet_small": 595_027,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters(name: str) -> None:
    net = make_network(NetworkConfig(name=name))  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "unet_residual"])  # the U-Net's
def test_an_output_pixel_sees_as_far_as_is_said(name: str) -> None:
    """The reach of the gradient over every phase of the scales; one multiple less would not do."""
    net = make_network(NetworkConfig(name=name)).double()  # type: ignore[arg-type]
    multiple, context = net.reach
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 0.1
    size, far = 2 * context + 64, 0
    size += -size % multiple
    width = max(multiple, 1)
    column = torch.rand(1, 3, size, width, dtype=torch.float64).add(1).requires_grad_()
    out = net(column)
    middle = size // 2 // multiple * multiple
    for row in range(middle, middle + multiple):
        (gradient,) = torch.autograd.grad(out[0, :, row, width // 2].sum(), column, retain_graph=True)
        seen = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        far = max(far, row - int(seen.min()), int(seen.max()) - row)
    assert context - multiple < far <= context


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (9, 3)])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 33)])
def test_any_size_and_channels_work(name: str, channels: tuple[int, int], size: tuple[int, int]) -> None:
    inputs, outputs = channels
    net = make_network(NetworkConfig(name=name, in_channels=inputs, out_channels=outputs))  # type: ignore[arg-type]
    with torch.no_grad():
        out = net(torch.rand(2, inputs, *size))
    assert out.shape == (2, outputs, *size)
    assert out.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_ten_steps_lower_the_loss_and_move_every_weight(name: str) -> None:
    torch.manual_seed(0)
    net = make_network(NetworkConfig(name=name))  # type: ignore[arg-type]
    before = {key: weight.detach().clone() for key, weight in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-4)
    clean = torch.rand(2, 3, 1, 1).expand(2, 3, 32, 32)
    noisy, losses = clean + 0.2 * torch.randn(clean.shape), []
    for _ in range(10):
        loss = (net(noisy) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(not torch.equal(weight, before[key]) for key, weight in net.named_parameters())


def test_red30_keeps_its_variance_and_begins_with_its_input() -> None:
    torch.manual_seed(0)
    net, noisy, seen = Red30(), torch.rand(1, 3, 48, 48), []
    net.last.register_forward_pre_hook(lambda _, arguments: seen.append(float(arguments[0].var())))
    with torch.no_grad():
        assert torch.allclose(net(noisy), noisy, atol=1e-6)
    assert 0.01 < seen[0] / float(noisy.var()) < 10
    assert len([layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]) == 30
