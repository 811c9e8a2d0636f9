"""What moves the weights by their gradients."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from model.muon import Muon, between_features


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser, and its rate over the run."""

    name: Literal["adam", "muon"] = "adam"
    """adam: as in the paper (beta 0.9 and 0.99, epsilon 1e-8). muon: convolutions between features by Muon, the rest by
    Adam; takes the same rates, and needs half the crops of a short training of drunet."""
    lr: float = 1e-3
    """Learning rate before the ramp-down."""
    ramp_down: float = 0.5
    """Share of the run, at its end, over which the rate falls to zero."""

    def __post_init__(self) -> None:
        if self.lr <= 0 or not 0 <= self.ramp_down <= 1:
            raise ValueError(f"optim.lr is {self.lr}, optim.ramp_down {self.ramp_down}; wanted lr > 0, 0 <= share <= 1")


def make_optimizers(net: nn.Module, config: OptimConfig) -> dict[str, torch.optim.Optimizer]:
    """Those that share a network's weights, by their names in a checkpoint; each step sets their rate."""
    by_muon: list[nn.Parameter] = []
    by_adam: list[nn.Parameter] = []
    for parameter in net.parameters():
        (by_muon if config.name == "muon" and between_features(parameter) else by_adam).append(parameter)
    adam = torch.optim.Adam(by_adam, lr=0.0, betas=(0.9, 0.99), eps=1e-8, fused=True)
    return {"optimizer": adam, "muon": Muon(by_muon, lr=0.0)} if by_muon else {"optimizer": adam}
