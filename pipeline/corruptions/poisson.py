"""Photon noise."""

from torch import Tensor

from pipeline.corruptions.draws import Generators, Strength, counts


def poisson(clean: Tensor, photons: Strength, generators: Generators) -> Tensor:
    """Count photons: mean `clean`, variance clean / photons, in units of white.

    `photons` is the expected count at white, in (0, inf); `clean` must not be negative. Skewed, so neither its
    median nor its mode is the clean picture. At 0.001 photons a single one is worth 1000 whites: hence never
    clipped and always float32. Source: Lehtinen et al. 2018, section 3.2, lambda in [0, 50]; the published code
    starts at 0.001, as at 0 the variance is infinite.
    """
    return counts(clean * photons, generators) / photons
