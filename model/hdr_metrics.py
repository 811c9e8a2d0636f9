"""How far a linear picture of unbounded range is from its reference. All of (C, H, W), at display exposure."""

import math

from torch import Tensor

EPSILON = 0.01  # of relative errors: Rousselle et al. 2011, section 6; with it, black pixels do not decide
GAMMA = 2.2


def tone_mapped(radiance: Tensor) -> Tensor:
    """(v / (1 + v))^(1 / 2.2), in [0, 1): the variant of Reinhard's of Lehtinen et al. 2018, section 3.3."""
    positive = radiance.clamp(min=0)
    return (positive / (1 + positive)).pow(1 / GAMMA)


def psnr_tonemapped_db(radiance: Tensor, reference: Tensor) -> float:
    """PSNR of both after tone mapping, of peak 1; infinite for equal pictures."""
    mse = float((tone_mapped(radiance).double() - tone_mapped(reference).double()).square().mean())
    return 10 * math.log10(1 / mse) if mse > 0 else math.inf


def relative_mse(radiance: Tensor, reference: Tensor) -> float:
    """Mean of (v - r)^2 / (r^2 + 0.01), linear."""
    v, r = radiance.double(), reference.double()
    return float(((v - r).square() / (r.square() + EPSILON)).mean())


def smape(radiance: Tensor, reference: Tensor) -> float:
    """Mean of |v - r| / (|v| + |r| + 0.01), linear, in [0, 1): symmetric mean absolute percentage error."""
    v, r = radiance.double(), reference.double()
    return float(((v - r).abs() / (v.abs() + r.abs() + EPSILON)).mean())


def energy_bias_percent(radiance: Tensor, reference: Tensor) -> float:
    """By how much the sum of light is off: 0 for an unbiased picture of whatever noise; not a number for black."""
    total = float(reference.double().sum())
    return 100 * (float(radiance.double().sum()) / total - 1) if total else math.nan
