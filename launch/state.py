"""Everything that a training step changes and a checkpoint holds."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from launch.world import World
from model.ema import ema_weight, update_ema
from model.fourier import consistent
from model.losses import LossSum, l2
from model.network import NetworkConfig
from model.zoo import make_network
from pipeline.errors import BadInput
from pipeline.pairs import AnyPair, MeasuredPair


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how to train. The clock is images: training pairs consumed so far, over all ranks."""

    images: int = 1_000_000
    """Length of the run."""
    batch: int = 16
    """Pairs a step, over all ranks."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's arithmetic; weights stay float32. auto: bfloat16 where the device is faster with it."""
    ema_half_life_images: float = 2000.0
    """The average of the weights that is evaluated and shipped forgets half of itself in so many images."""
    log_every_images: int = 1000
    validate_every_images: int = 10_000
    checkpoint_every_images: int = 10_000
    checkpoint_every_minutes: float = 10.0
    """Also after so many minutes, so that a slow machine loses no more; 0 for never."""
    keep_checkpoints: int = 2
    """The newest ones that are kept."""

    def __post_init__(self) -> None:
        for name in (
            "images",
            "batch",
            "log_every_images",
            "validate_every_images",
            "checkpoint_every_images",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; wanted at least 1")
        for name, least in (("keep_checkpoints", 1), ("ema_half_life_images", 0), ("checkpoint_every_minutes", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"train.{name} is {getattr(self, name)}; wanted at least {least}")


class TrainState:
    """Network, average, optimiser and clock."""

    def __init__(self, network: NetworkConfig, config: TrainConfig, seed: int, world: World) -> None:
        self.world = world
        self.config = config
        self.images = 0
        self.autocast = torch.autocast(world.device.type, torch.bfloat16, enabled=use_bfloat16(config, world.device))
        with torch.random.fork_rng(devices=[]):  # the same weights on every rank, the global generator untouched
            torch.manual_seed(seed)
            net = make_network(network)
        # channels_last is two to three times as fast as contiguous here on CPUs, and no slower on GPUs
        self.net = net.to(world.device).to(memory_format=torch.channels_last)
        self.ema_net = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.0, betas=(0.9, 0.99), eps=1e-8, fused=True)
        self.parallel = DistributedDataParallel(self.net) if world.size > 1 else self.net

    def step(self, pair: AnyPair, lr: float, loss: Callable[..., LossSum] = l2) -> Tensor:
        """Forward, backward, all-reduce, Adam, average; moves the clock. Returns this rank's mean loss.

        `loss` takes what the network puts out, the target, and of a masked pair the weight, if it wants it. Of a
        measured pair it sees the output with the measured frequencies put back, and so only learns the others.
        Raises BadInput before the optimiser is touched where the loss or a gradient is not finite, on every rank.
        """
        source = pair.source.to(self.world.device, memory_format=torch.channels_last, non_blocking=True)
        target, *known = [part.to(self.world.device, non_blocking=True) for part in pair[1:]]
        with self.autocast:
            denoised = self.parallel(source)
        if isinstance(pair, MeasuredPair):
            denoised = consistent(denoised, source, known.pop())
        mean = self.mean_loss(loss(denoised, target, *known))
        self.optimizer.zero_grad(set_to_none=True)
        mean.backward()  # type: ignore[no-untyped-call]
        self.refuse_non_finite(mean)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.images += self.config.batch
        weight = ema_weight(self.images, self.config.batch, self.config.ema_half_life_images)
        update_ema(self.ema_net, self.net, weight)
        return mean.detach()

    def mean_loss(self, loss: LossSum) -> Tensor:
        """A loss divided so that DDP's average over the ranks is the sum over all ranks by the elements of all."""
        if isinstance(loss.elements, int):
            return loss.total / loss.elements  # every rank has as many
        everywhere = self.world.sum(loss.elements).clamp(min=1)  # a batch may have lost every pixel
        return loss.total * (self.world.size / everywhere).to(loss.total.dtype)

    def refuse_non_finite(self, loss: Tensor) -> None:
        """Stop on the gradient's norm: after the all-reduce it is the same on all ranks, so all stop together."""
        gradients = [parameter.grad for parameter in self.net.parameters() if parameter.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            raise BadInput(
                "the loss is not finite",
                where=f"the step from image {self.images} on",
                got=f"loss {float(loss)} on this rank, gradient norm {norm}",
                wanted="finite numbers; the weights have not been touched by this step",
                todo="look at its pairs with `n2n inspect --draw`; a lower optim.lr helps where training diverged",
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.net.state_dict(),
            "ema": self.ema_net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "images": self.images,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["network"])
        self.ema_net.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.images = state["images"]


def use_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    """Whether to compute in bfloat16: as configured, or where it was measured to be faster."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # Measured on training steps of this network: 2.4 times float32 on AMD EPYC with avx512_bf16, but 0.6 times on
    # an Intel Xeon with it (its bfloat16 is made for AMX, which virtual machines often hide).
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    amd = "AMD" in str(abilities.get("cpu_name", ""))
    return bool(abilities.get("amx_bf16") or (amd and abilities.get("avx512_bf16")))
