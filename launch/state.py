"""Everything that a training step changes and a checkpoint holds."""

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from launch.optimizer import OptimConfig, make_optimizers
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
    """A line of numbers after so many images; of this and of all that follow, 0 is for never but at the end."""
    log_every_minutes: float = 0.0
    """Also after so many minutes."""
    validate_every_images: int = 10_000
    validate_every_minutes: float = 0.0
    checkpoint_every_images: int = 10_000
    checkpoint_every_minutes: float = 10.0
    """Also after so many minutes, so that a slow machine loses no more."""
    keep_checkpoints: int = 2
    """The newest ones that are kept."""
    keep_every_images: int = 0
    """Of every so many images, the first checkpoint is kept for good; 0 for none."""
    best_metric: str = "auto"
    """The validation's number whose best checkpoint is kept as best.pt, such as psnr_srgb8_db or ssim_srgb8. auto:
    unbiased_mse of real shots, relative_mse of renders, psnr_srgb8_db of pictures."""
    accumulate: int = 1
    """Parts into which every rank divides its share of a batch, one after the other: less memory, the same step."""
    compile: bool = False
    """Compile the network with torch.compile: faster on GPUs after a minute's start, slower on CPUs."""
    tf32: bool = True
    """Let GPUs round float32 factors to 10 bits in convolutions and matrix products."""
    compress_gradients: bool = False
    """Exchange gradients between ranks in bfloat16: half the bytes, and rounded."""

    def __post_init__(self) -> None:
        least = dict.fromkeys(("images", "batch", "accumulate", "keep_checkpoints"), 1)
        never = ("keep_every_images", "ema_half_life_images")
        rhythms = [
            f"{what}_every_{unit}" for what in ("log", "validate", "checkpoint") for unit in ("images", "minutes")
        ]
        for name, bound in (least | dict.fromkeys((*never, *rhythms), 0)).items():
            if getattr(self, name) < bound:
                raise ValueError(f"train.{name} is {getattr(self, name)}; wanted at least {bound}")


class TrainState:
    """Network, average, optimisers and clock."""

    def __init__(
        self, network: NetworkConfig, config: TrainConfig, seed: int, world: World, optim: OptimConfig | None = None
    ) -> None:
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
        self.optimizers = make_optimizers(self.net, optim or OptimConfig())
        self.fault = torch.full((3,), -1.0, dtype=torch.float64, device=world.device)
        allow_tf32(config.tf32)
        if config.compile:
            self.net.compile()
        self.parallel = in_parallel(self.net, config, world)

    def step(self, pair: AnyPair, lr: float, loss: Callable[..., LossSum] = l2) -> Tensor:
        """Forward, backward, all-reduce, optimisers, average; moves the clock. Returns this rank's mean loss.

        `loss` takes what the network puts out, the target, and of a masked pair the weight, if it wants it. Of a
        measured pair it sees the output with the measured frequencies put back, and so only learns the others.
        Nothing here waits for the device. A step whose gradient is not finite changes no weight on any rank, and
        `refuse_non_finite` tells of it.
        """
        self.net.zero_grad(set_to_none=True)
        mean = self.backward(divided(pair, self.config.accumulate), loss)
        self.skip_non_finite(mean)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        self.images += self.config.batch
        weight = ema_weight(self.images, self.config.batch, self.config.ema_half_life_images)
        update_ema(self.ema_net, self.net, weight)
        return mean

    def backward(self, parts: list[AnyPair], loss: Callable[..., LossSum]) -> Tensor:
        """Add up the gradient of the mean loss, part by part; ranks exchange it once, behind the last backward."""
        elements: list[int | Tensor] = []
        if len(parts) > 1:  # what the sum is divided by must be known before the first part's backward
            extra = 2 if isinstance(parts[0], MeasuredPair) else len(parts[0])
            elements = [loss(part.target, *part[1:extra]).elements for part in parts]
        means: list[Tensor] = []
        for part in parts:
            alone = isinstance(self.parallel, DistributedDataParallel) and len(means) + 1 < len(parts)
            with self.parallel.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
                result = self.loss_of(part, loss)
                mean = self.mean_loss(result.total, sum(elements) if elements else result.elements)
                mean.backward()  # type: ignore[no-untyped-call]
            means.append(mean.detach())
        return means[0] if len(means) == 1 else torch.stack(means).sum()

    def loss_of(self, pair: AnyPair, loss: Callable[..., LossSum]) -> LossSum:
        source = pair.source.to(self.world.device, memory_format=torch.channels_last, non_blocking=True)
        target, *known = [part.to(self.world.device, non_blocking=True) for part in pair[1:]]
        with self.autocast:
            denoised = self.parallel(source)
        if isinstance(pair, MeasuredPair):
            denoised = consistent(denoised, source, known.pop())
        return loss(denoised, target, *known)

    def mean_loss(self, total: Tensor, elements: int | Tensor) -> Tensor:
        """A loss divided so that DDP's average over the ranks is the sum over all ranks by the elements of all."""
        if isinstance(elements, int):
            return total / elements  # every rank has as many
        everywhere = self.world.sum(elements.to(total.device)).clamp(min=1)  # a batch may have lost every pixel
        return total * (self.world.size / everywhere).to(total.dtype)

    def skip_non_finite(self, loss: Tensor) -> None:
        """Have this step left out where the gradient's norm is not finite, and note the first such step.

        After the all-reduce the norm is the same on all ranks. All of it stays on the device.
        """
        gradients = [parameter.grad for parameter in self.net.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        skip = ~torch.isfinite(norm)
        for optimizer in self.optimizers.values():
            optimizer.found_inf = skip.float()  # type: ignore[attr-defined]  # what GradScaler tells a fused Adam
        here = torch.stack([torch.full_like(norm, self.images, dtype=torch.float64), loss.double(), norm.double()])
        self.fault = torch.where(skip & (self.fault[0] < 0), here, self.fault)

    def refuse_non_finite(self) -> None:
        """Raise BadInput where a step has been left out. Waits for the device, so not for every step."""
        images, loss, norm = self.fault.tolist()
        if images >= 0:
            raise BadInput(
                "the loss is not finite",
                where=f"the step from image {int(images)} on",
                got=f"loss {loss} on this rank, gradient norm {norm}",
                wanted="finite numbers; the weights have not been touched by this step",
                todo="look at its pairs with `n2n inspect --draw`; a lower optim.lr helps where training diverged",
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.net.state_dict(),
            "ema": self.ema_net.state_dict(),
            **{name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "images": self.images,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["network"])
        self.ema_net.load_state_dict(state["ema"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
        self.images = state["images"]


def in_parallel(net: nn.Module, config: TrainConfig, world: World) -> nn.Module:
    """The network, whose gradients are averaged over the ranks as backward makes them."""
    if world.size == 1:
        return net
    parallel = DistributedDataParallel(net, gradient_as_bucket_view=True)
    if config.compress_gradients:
        parallel.register_comm_hook(None, bf16_compress_hook)
    return parallel


def divided(pair: AnyPair, parts: int) -> list[AnyPair]:
    """A rank's share of a batch in so many equal parts, which must divide it."""
    if parts == 1:
        return [pair]
    size = len(pair.source)
    if size % parts:
        raise BadInput(
            "a rank's share of the batch does not divide into the parts",
            where="train.accumulate",
            got=f"{size} pairs a rank in {parts} parts",
            wanted="parts of equal size",
            todo="set train.accumulate to a divisor of train.batch over the ranks",
        )
    return [type(pair)(*piece) for piece in zip(*(tensor.chunk(parts) for tensor in pair), strict=True)]


def allow_tf32(allowed: bool) -> None:
    """For this process; it means nothing on CPUs."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


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
