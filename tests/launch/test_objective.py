"""Which loss belongs to which corruption: what is refused, with the reason and the right choice."""

import pytest

from launch.objective import choose_loss
from model.losses import LossConfig
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput

AUTO = {
    "gaussian": "l2",
    "brown": "l2",
    "poisson": "l2",
    "camera": "l2",
    "bernoulli": "masked_l2",
    "impulse": "l0",
    "text": "l1",
    "camera_text": "masked_l2",
}
BIASED = [
    *(("poisson", "l1"), ("poisson", "l0"), ("camera", "l1"), ("bernoulli", "l2"), ("bernoulli", "l1")),
    *(("impulse", "l2"), ("impulse", "l1"), ("text", "l2"), ("text", "relative_l2"), ("camera_text", "l1")),
]


def corruption(name: str, **options: object) -> CorruptionConfig:
    return CorruptionConfig(name=name, **options)  # type: ignore[arg-type]


def config(name: str, allow_biased: bool = False) -> LossConfig:
    return LossConfig(name=name, allow_biased=allow_biased)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "loss"), AUTO.items())
def test_auto_is_a_right_loss(name: str, loss: str) -> None:
    for target in ("noisy", "clean"):
        assert choose_loss(LossConfig(), corruption(name), target) == loss
    assert choose_loss(config(loss), corruption(name), "noisy") == loss


@pytest.mark.parametrize(("name", "loss"), BIASED)
def test_a_biased_loss_is_refused_with_the_right_one(name: str, loss: str) -> None:
    with pytest.raises(BadInput, match=rf"set loss\.name to {AUTO[name]}"):
        choose_loss(config(loss), corruption(name), "noisy")


@pytest.mark.parametrize(("name", "loss"), BIASED)
def test_a_biased_loss_may_be_insisted_on_and_harms_no_clean_target(name: str, loss: str) -> None:
    assert choose_loss(config(loss, allow_biased=True), corruption(name), "noisy") == loss
    assert choose_loss(config(loss), corruption(name), "clean") == loss


def test_symmetric_noise_may_have_any_unmasked_loss() -> None:
    for loss in ("l2", "l1", "l0", "relative_l2"):
        assert choose_loss(config(loss), corruption("gaussian"), "noisy") == loss


def test_the_median_of_impulse_noise_is_clean_below_one_half() -> None:
    assert choose_loss(config("l1"), corruption("impulse", p=(0.0, 0.45)), "noisy") == "l1"
    with pytest.raises(BadInput):
        choose_loss(config("l1"), corruption("impulse", p=(0.0, 0.5)), "noisy")


def test_a_masked_loss_without_a_mask_is_refused_even_if_insisted_on() -> None:
    with pytest.raises(BadInput, match="needs a mask"):
        choose_loss(config("masked_l2", allow_biased=True), corruption("gaussian"), "noisy")
