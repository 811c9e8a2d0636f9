"""Updates that are orthogonal, of the size of Adam's, and those of torch's own Muon."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model.muon import Muon, between_features, orthogonal
from model.network import Name, NetworkConfig
from model.zoo import make_network


@pytest.mark.parametrize("shape", [(3, 24, 216), (2, 96, 32), (1, 48, 48)])
def test_singular_values_become_about_one_and_their_vectors_stay(
    generator: torch.Generator, shape: tuple[int, int, int]
) -> None:
    left, values, right = torch.linalg.svd(torch.randn(*shape, generator=generator), full_matrices=False)
    unequal = torch.logspace(0, -2, values.shape[1]).expand_as(values)
    matrices = left @ torch.diag_embed(unequal) @ right
    seen = left.mT @ orthogonal(matrices) @ right.mT  # diagonal in the same vectors
    spectrum = seen.diagonal(dim1=1, dim2=2)
    assert 0.6 < float(spectrum.min()) <= float(spectrum.max()) < 1.25
    assert float((seen - torch.diag_embed(spectrum)).abs().max()) < 1e-3
    assert float(torch.linalg.svdvals(matrices).min()) < 0.02, "else there was nothing to do"


def rounded(tensor: Tensor) -> Tensor:
    """To the 10 bits of mantissa that GPUs may take of factors (TF32)."""
    return ((tensor.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


class Tf32(TorchFunctionMode):
    """Products of rounded factors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.matmul, Tensor.__matmul__):
            args = tuple(rounded(one.contiguous()) for one in args)
        elif func is torch.baddbmm:
            args = (args[0], *(rounded(one) for one in args[1:]))
        return func(*args, **(kwargs or {}))


def test_rounded_factors_do_not_grow(generator: torch.Generator) -> None:
    """Most singular values are nearly nothing, where rounding makes eigenvalues of x x^T negative."""
    left, values, right = torch.linalg.svd(torch.randn(2, 32, 96, generator=generator), full_matrices=False)
    flat = left @ torch.diag_embed(torch.logspace(0, -6, values.shape[1]).expand_as(values)) @ right
    exact, double = orthogonal(flat), orthogonal(flat.double()).float()
    assert float((exact - double).norm() / double.norm()) < 1e-4
    with Tf32():
        coarse = orthogonal(flat)
    assert 1e-4 < float((coarse - double).norm() / double.norm()) < 0.3
    assert float(torch.linalg.matrix_norm(coarse, 2).max()) < 1.5


def test_of_nothing_nothing_is_made() -> None:
    assert float(orthogonal(torch.zeros(1, 16, 32)).abs().max()) == 0


def gradients(generator: torch.Generator, shape: tuple[int, ...], steps: int) -> list[Tensor]:
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


def walked(start: Tensor, by: list[Tensor], lr: float = 1e-3) -> tuple[Tensor, Muon]:
    weight = nn.Parameter(start.clone())
    optimizer = Muon([weight], lr)
    for gradient in by:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach(), optimizer


def test_steps_are_those_of_torch(generator: torch.Generator) -> None:
    """Which takes matrices alone, rounds to bfloat16 (a relative 0.4 %, more than once), and so is not used."""
    start, by = torch.randn(32, 16, 3, 3, generator=generator), gradients(generator, (32, 16, 3, 3), 5)
    flat = nn.Parameter(start.flatten(1).clone())
    theirs = torch.optim.Muon([flat], lr=1e-3, weight_decay=0, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for gradient in by:
        flat.grad = gradient.flatten(1).clone()
        theirs.step()
    ours, _ = walked(start, by)
    moved = (flat.detach() - start.flatten(1)).norm()
    assert float((ours.flatten(1) - flat.detach()).norm() / moved) < 0.03
    without_momentum, _ = walked(start, by[-1:])
    assert float((without_momentum.flatten(1) - flat.detach()).norm() / moved) > 0.3


def test_a_step_has_the_size_of_one_of_adam(generator: torch.Generator) -> None:
    """0.2 of the rate, whatever the gradient's size and the weight's shape."""
    for shape, scale in (((64, 32, 3, 3), 1e-5), ((16, 128, 1, 1), 1e3)):
        start = torch.zeros(shape)
        moved, _ = walked(start, [scale * torch.randn(shape, generator=generator)], lr=1e-3)
        assert float(moved.square().mean().sqrt()) == pytest.approx(2e-4, rel=0.25)


def test_the_layout_in_memory_changes_nothing(generator: torch.Generator) -> None:
    start, by = torch.randn(32, 16, 3, 3, generator=generator), gradients(generator, (32, 16, 3, 3), 3)
    last = walked(start.to(memory_format=torch.channels_last), by)[0]
    assert torch.equal(last, walked(start, by)[0])


def test_weights_of_one_shape_do_not_know_of_each_other(generator: torch.Generator) -> None:
    starts = [torch.randn(16, 16, 3, 3, generator=generator) for _ in range(3)]
    by = [gradients(generator, (16, 16, 3, 3), 3) for _ in starts]
    together = [nn.Parameter(start.clone()) for start in starts]
    optimizer = Muon(together, 1e-3)
    for step in range(3):
        for weight, its in zip(together, by, strict=True):
            weight.grad = its[step]
        optimizer.step()
    alone = [walked(start, its)[0] for start, its in zip(starts, by, strict=True)]
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(together, alone, strict=True))


def test_a_step_that_is_left_out_changes_no_bit(generator: torch.Generator) -> None:
    start, by = torch.randn(16, 16, 3, 3, generator=generator), gradients(generator, (16, 16, 3, 3), 2)
    weight, optimizer = walked(start, by)
    before, momentum = weight.clone(), next(iter(optimizer.state.values()))["momentum"].clone()
    parameter = optimizer.param_groups[0]["params"][0]
    parameter.grad = torch.full_like(start, torch.nan)
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert torch.equal(parameter, before)
    assert torch.equal(next(iter(optimizer.state.values()))["momentum"], momentum)
    parameter.grad, optimizer.found_inf = by[0], torch.tensor(0.0)
    optimizer.step()
    assert not torch.equal(parameter, before)
    assert torch.equal(parameter, walked(start, [*by, by[0]])[0]), "as if it had not been"


@pytest.mark.parametrize("name", get_args(Name))
def test_colours_and_depthwise_layers_are_left_to_adam(name: Name) -> None:
    net = make_network(NetworkConfig(name=name))
    kinds = {True: 0, False: 0}
    for parameter in net.parameters():
        kinds[between_features(parameter)] += parameter.numel()
    for parameter in net.parameters():
        if between_features(parameter):
            assert min(parameter.shape[:2]) > net.config.in_channels
    assert kinds[True] > 0.9 * sum(kinds.values()), "nearly all weights are between features"
