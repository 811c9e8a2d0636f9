"""The network of the paper's Table 2."""

import pytest
import torch
from torch import nn

from model.network import NetworkConfig
from model.unet import ResidualUNet, UNet

TABLE_2 = {
    "enc_conv0": (3, 48), "enc_conv1": (48, 48), "enc_conv2": (48, 48), "enc_conv3": (48, 48),
    "enc_conv4": (48, 48), "enc_conv5": (48, 48), "enc_conv6": (48, 48),
    "dec_conv5a": (96, 96), "dec_conv5b": (96, 96), "dec_conv4a": (144, 96), "dec_conv4b": (96, 96),
    "dec_conv3a": (144, 96), "dec_conv3b": (96, 96), "dec_conv2a": (144, 96), "dec_conv2b": (96, 96),
    "dec_conv1a": (99, 64), "dec_conv1b": (64, 32), "dec_conv1c": (32, 3),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "outputs", "parameters"), [(3, 3, 991_203), (9, 3, 997_251), (1, 1, 988_609)])
def test_parameters(inputs: int, outputs: int, parameters: int) -> None:
    net = UNet(NetworkConfig(in_channels=inputs, out_channels=outputs))
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def test_layers_are_those_of_the_table_and_share_no_weights() -> None:
    net = UNet()
    layers = dict(net.named_children())
    assert {name: (layer.in_channels, layer.out_channels) for name, layer in layers.items()} == TABLE_2
    assert all(isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) for layer in layers.values())
    assert len({parameter.data_ptr() for parameter in net.parameters()}) == 2 * len(TABLE_2)


def test_multiplications_of_a_picture_of_256() -> None:
    """11.400 G multiply-adds at 3 x 256 x 256, as the table's layers and sizes give."""
    total = 0

    def count(layer: nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output[0].numel() * layer.in_channels * 9

    net = UNet()
    for layer in net.children():
        layer.register_forward_hook(count)  # type: ignore[arg-type]
    with torch.no_grad():
        net(torch.zeros(1, 3, 256, 256))
    assert round(total / 1e9, 3) == 11.400


def test_the_last_layer_is_linear() -> None:
    net = UNet()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    net.dec_conv1c.bias.data.fill_(-7.0)
    assert torch.allclose(net(torch.rand(1, 3, 32, 32)), torch.tensor(-6.5))


def test_a_residual_one_begins_as_the_identity_and_adds_what_the_layers_put_out() -> None:
    net, noisy = ResidualUNet(), torch.randn(2, 3, 40, 50)
    assert torch.allclose(net(noisy), noisy, atol=1e-6)
    plain = UNet()
    for each in (plain, net):
        torch.manual_seed(0)
        nn.init.normal_(each.dec_conv1c.weight)
    plain.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.allclose(net(noisy) - noisy + 0.5, plain(noisy), atol=1e-4)
    render, buffers = ResidualUNet(NetworkConfig(in_channels=9)), torch.randn(1, 9, 32, 32)
    assert torch.allclose(render(buffers), buffers[:, :3], atol=1e-6), "radiance, whose code is also put out"
    coloured = ResidualUNet(NetworkConfig(in_channels=1))
    assert torch.equal(coloured(torch.randn(1, 1, 32, 32)), torch.full((1, 3, 32, 32), 0.5)), "nothing to be added to"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 33), (64, 64), (100, 7)])
def test_any_size_works(size: tuple[int, int]) -> None:
    with torch.no_grad():
        out = UNet()(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, *size)
    assert torch.isfinite(out).all()


def test_a_fresh_network_is_not_far_from_its_input_scale() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        out = UNet()(torch.rand(4, 3, 64, 64))
    assert 0.01 < float(out.std()) < 1.5
