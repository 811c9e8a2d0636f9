"""Momentum whose matrices are made orthogonal before they move the weights (Jordan et al. 2024, "Muon: an optimizer for
hidden layers in neural networks").

torch.optim.Muon does the same to linear layers, in bfloat16, which takes thirty times as long where processors lack it.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
COEFFICIENTS = 3.4445, -4.7750, 2.0315  # Jordan's: the steepest start of a quintic that stays between 0.7 and 1.2
STEPS = 2, 3  # Jordan's five; see `factors` for why they are not taken in one go
FEWEST = 16  # features: layers of fewer, such as those that take and give colours, are not what this is for


class Muon(torch.optim.Optimizer):
    """For weights of convolutions, (out, in, height, width), which count as matrices of (out, in * height * width).

    An update has the root mean square of one of Adam's, 0.2 of the rate (Liu et al. 2025, "Muon is scalable for LLM
    training"), so that both take the same rate.
    """

    found_inf: Tensor | None = None
    """As for a fused Adam: where this is not zero, a step changes nothing, and gradients may be whatever they are."""

    def __init__(self, weights: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure is ever evaluated
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                alike[weight.shape].append(weight)
            for weights in alike.values():
                self.move(weights, group["lr"])

    def move(self, weights: list[nn.Parameter], lr: float) -> None:
        """One step of weights of one shape."""
        skip = None if self.found_inf is None else self.found_inf != 0
        matrices = []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            momentum, gradient = state["momentum"], weight.grad
            assert gradient is not None, "every weight has a part in the output"
            if skip is not None:
                gradient = torch.where(skip, momentum, gradient)  # towards itself: it stays, to the bit
            momentum.lerp_(gradient, 1 - MOMENTUM)
            matrices.append(gradient.lerp(momentum, MOMENTUM).flatten(1))  # a step ahead, after Nesterov
        updates = orthogonal(torch.stack(matrices))
        size = 0.2 * max(updates.shape[1:]) ** 0.5 * lr
        if skip is not None:
            updates = updates * ~skip
        for weight, update in zip(weights, updates, strict=True):
            weight.sub_(update.view(weight.shape), alpha=size)


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, R, C) -> the same singular vectors, whose singular values are all between about 0.7 and 1.2.

    The iteration of Newton and Schulz in Jordan's form. Values below a thousandth of the matrix's norm stay smaller.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for steps in STEPS:
        x = factors(x @ x.mT, steps) @ x
    return x if wide is matrices else x.mT


def factors(gram: Tensor, steps: int) -> Tensor:
    """What several steps multiply x by, given x times its transpose: smaller matrices by far than x is.

    A step is x -> (a + b g + c g^2) x with g = x x^T, and takes g with it. Rounding grows twelvefold a step, so that
    after three of them a new g is due, if factors are rounded to 10 bits (TF32).
    """
    a, b, c = COEFFICIENTS
    product = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device).expand_as(gram)
    for _ in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product, gram = factor @ product, factor @ gram @ factor
    return product


def between_features(parameter: Tensor) -> bool:
    """Whether this is a weight for Muon: of a convolution from features to features, not depthwise."""
    return parameter.ndim == 4 and min(parameter.shape[:2]) >= FEWEST
