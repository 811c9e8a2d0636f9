"""The noise of a camera's sensor: photons and read-out, in linear light."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.corruptions.draws import Generators, Strength, counts, normal_around


@dataclass(frozen=True)
class Sensor:
    """What a sensor makes of light over the sensitivities at which its noise is seen."""

    electrons: tuple[float, float]
    """Photo-electrons at white, from the highest sensitivity to the lowest: full well x base ISO / ISO."""
    read_noise_e: float
    """Standard deviation of reading a pixel out, in electrons."""


# Round numbers of their class of sensor, not of a product: pixels of about 1 um hold some 5,000 electrons, those
# of 6 um some 60,000, and both are read out with 2 to 3 electrons of noise.
SENSORS = {
    "phone": Sensor((80.0, 2500.0), 2.0),  # ISO 100 to 3200 at a base of 50
    "full_frame": Sensor((120.0, 7500.0), 3.0),  # ISO 800 to 51200 at a base of 100
}


def camera(clean: Tensor, electrons: Strength, read_noise_e: float, generators: Generators) -> Tensor:
    """Expose a sensor to an sRGB picture in [0, 1]; returns LINEAR light, in which its mean is `to_linear(clean)`.

    Poisson counts plus Gaussian read noise, over the gain: (Poisson(electrons * v) + N(0, read_noise_e**2)) /
    electrons, of variance v / electrons + (read_noise_e / electrons)**2 for linear v. Not clipped at black, as the
    read noise goes below it. White for every pixel and channel: demosaicking, which correlates neighbours, and
    white balance, which scales channels, are not modelled. Source: the Poissonian-Gaussian model of Foi, Trimeche,
    Katkovnik and Egiazarian 2008.
    """
    photons = counts(to_linear(clean) * electrons, generators)
    return normal_around(photons, read_noise_e, generators) / electrons


def to_linear(encoded: Tensor) -> Tensor:
    """Linear light of sRGB values (IEC 61966-2-1), odd around zero, so that values outside [0, 1] survive."""
    x = encoded.abs()
    return torch.where(x <= 0.04045, x / 12.92, power((x + 0.055) / 1.055, 2.4)).copysign(encoded)


def to_srgb(linear: Tensor) -> Tensor:
    """The sRGB values of linear light (IEC 61966-2-1), the inverse of `to_linear`.

    For the network's input, for looking and for metrics. Never for a noisy target: the mean of a curve is not the
    curve of the mean.
    """
    x = linear.abs()
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * power(x, 1 / 2.4) - 0.055).copysign(linear)


def power(x: Tensor, exponent: float) -> Tensor:
    """X ** exponent of non-negative values.

    On the CPU by numpy, whose power of a number does not depend on where in an array it stands: torch rounds the last
    few numbers of each thread's share otherwise, so that a picture would change with the batch it is in.
    """
    if x.device.type != "cpu":
        return x.pow(exponent)
    return torch.from_numpy(np.power(x.contiguous().numpy(), np.float32(exponent)))
