"""How noise is held against the moments that its law promises."""

import math
from collections.abc import Callable

import pytest
from torch import Tensor


@pytest.fixture(scope="session")
def agree() -> Callable[[Tensor, float, float], bool]:
    """Whether independent values have this mean and variance, within five standard errors computed from them."""

    def check(values: Tensor, mean: float, variance: float) -> bool:
        x, n = values.double().flatten(), values.numel()
        if variance < 1e-12:
            return bool((x - mean).abs().max() < 1e-6)
        fourth = float((x - x.mean()).pow(4).mean())
        variance_error = math.sqrt(max(fourth - float(x.var()) ** 2, 0) / n) + 1e-7 * variance
        near_mean = abs(float(x.mean()) - mean) < 5 * math.sqrt(variance / n) + 1e-7
        return near_mean and abs(float(x.var()) - variance) < 5 * variance_error

    return check
