"""Which loss a run minimises: one whose minimiser is the clean picture, unless another is asked for knowingly."""

from collections.abc import Callable

from launch.config import RunConfig
from model.light import in_linear_light, in_radiance
from model.losses import SEEKS, LossConfig, LossSum, annealed_gamma, loss_at
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput

RENDER_LOSSES = ("relative_l2", "l2")
# Of several right ones, the first of these: masked before plain, and squares before what learns more slowly.
PREFERENCE = ("masked_l2", "l2", "l1", "l0", "relative_l2")


def choose_loss(config: LossConfig, corruption: CorruptionConfig, target: str) -> str:
    """The name of the loss. Raises BadInput where it cannot find the clean picture behind noisy targets.

    With clean targets any loss is right; `auto` then stays the one of the noisy targets, to compare like with like.
    """
    right = [name for name in PREFERENCE if SEEKS[name] in corruption.statistics]
    if config.name == "auto":
        return right[0]
    masked = "masked mean" in corruption.law.statistics
    if config.name == "masked_l2" and not masked:
        raise BadInput(
            "masked_l2 needs a mask",
            where="loss.name",
            got=f"corruption.name {corruption.name}, whose targets are valid everywhere",
            todo=f"set loss.name to {right[0]}",
        )
    if config.name in right or target == "clean" or config.allow_biased:
        return config.name
    raise BadInput(
        "this loss does not find the clean picture",
        where="loss.name",
        got=f"{config.name}, which seeks the {SEEKS[config.name]} of the target: of {corruption.name} noise only the "
        f"{' and the '.join(corruption.statistics)} is clean",
        wanted=" or ".join(right),
        todo=f"set loss.name to {right[0]} or auto; loss.allow_biased=true trains on it anyway",
    )


def choose_render_loss(config: LossConfig, target: str) -> str:
    """The same for renders, whose noise has the clean picture as its mean, and heavy tails.

    Relative squares are deaf to the rare bright pixels that would decide plain ones (Lehtinen et al. 2018, section
    3.3). Medians and modes of such noise are far too dark.
    """
    if config.name == "auto":
        return "relative_l2"
    if config.name in RENDER_LOSSES or (config.name != "masked_l2" and (target == "clean" or config.allow_biased)):
        return config.name
    seeks = f"{config.name}, which seeks the {SEEKS[config.name]} of the target"
    raise BadInput(
        "this loss does not find the clean picture",
        where="loss.name",
        got=f"{seeks}: of a render's noise only the mean is clean",
        wanted=" or ".join(RENDER_LOSSES),
        todo="set loss.name to auto" + ("" if config.name == "masked_l2" else "; or allow it: loss.allow_biased=true"),
    )


def loss_now(config: RunConfig, name: str, images: int) -> Callable[..., LossSum]:
    """The run's loss at a clock reading: annealed where it is, and in linear light where the targets are."""
    loss = loss_at(name, annealed_gamma(images, config.train.images, config.loss.gamma_floor))
    if config.data.kind == "renders":
        return in_radiance(loss) if config.renders.output == "log" else loss
    return in_linear_light(loss) if config.corruption.law.linear else loss
