"""Which loss belongs to which corruption: what is refused, with the reason and the right choice."""

import pytest
import torch

from launch.objective import choose_loss
from model.fourier import consistent
from model.losses import LossConfig, l2
from pipeline.corruption import CorruptionConfig
from pipeline.corruptions.mri import mri
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
    "mri": "l2",
}
BIASED = [
    *(("poisson", "l1"), ("poisson", "l0"), ("camera", "l1"), ("bernoulli", "l2"), ("bernoulli", "l1")),
    *(("impulse", "l2"), ("impulse", "l1"), ("text", "l2"), ("text", "relative_l2"), ("camera_text", "l1")),
    *(("mri", "l1"), ("mri", "l0")),
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


def mri_minimiser(weighted: bool = True, masked: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """The one picture that, shown for every source of many MRI pairs of a clean one, has the least loss; and it.

    A picture is as many numbers as it has frequencies, so the paraboloid's bottom is one Newton step away.
    """
    clean = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float32)
    (source, kept), (target, held) = (
        mri(clean.expand(30_000, 1, 4, 4), 0.3, torch.Generator().manual_seed(seed)) for seed in (1, 2)
    )
    if not weighted:
        target = torch.fft.irfft2(torch.fft.rfft2(target) * held, s=(4, 4))
    kept = kept if masked else torch.zeros_like(kept)

    def mean_loss(flat: torch.Tensor) -> torch.Tensor:
        denoised = flat.view(1, 1, 4, 4).expand_as(target)
        loss = l2(consistent(denoised, source, kept), target)
        return loss.total / loss.elements

    start = torch.full((16,), 0.5)
    slope = torch.autograd.functional.jacobian(mean_loss, start)
    curvature = torch.autograd.functional.hessian(mean_loss, start)
    return (start - torch.linalg.pinv(curvature) @ slope).view(1, 4, 4), clean


def off_in_frequency(found: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Largest distance of a frequency that is ever left unmeasured: the mean always is, so no loss sees it."""
    return (torch.fft.rfft2(found) - torch.fft.rfft2(clean)).abs().flatten()[1:].max()


def test_l2_with_data_consistency_finds_the_mean_of_sampled_spectra() -> None:
    """In the frequencies that a source lacks; targets without their weights miss it. Five standard errors."""
    found, clean = mri_minimiser()
    largest = torch.fft.rfft2(clean).abs().flatten()[1:].max()
    rarest = 0.3 ** (2**0.5)
    error = 5 * float(largest) * ((1 / rarest - 1) / (30_000 * 0.3)) ** 0.5
    assert float(off_in_frequency(found, clean)) < error
    assert float(off_in_frequency(mri_minimiser(weighted=False)[0], clean)) > error
    unseen, _ = mri_minimiser(masked=False)  # without consistency the minimiser is the same: only slower to reach
    assert float(off_in_frequency(unseen, clean)) < error
