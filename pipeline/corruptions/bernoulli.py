"""Missing pixels."""

from torch import Tensor

from pipeline.corruptions.draws import Generators, Strength, uniform


def bernoulli(clean: Tensor, p: Strength, generators: Generators) -> tuple[Tensor, Tensor]:
    """Zero each pixel, in all its channels, with probability `p` in [0, 1). Returns (noisy, valid).

    `valid` is (..., 1, H, W), 1 where the pixel survived and 0 where it is missing; noisy is valid * clean. So the
    mean is (1 - p) clean and the variance p (1 - p) clean**2, but over valid pixels the value is `clean` exactly:
    the mask belongs into the loss. Decided here, as the paper leaves it open: whole pixels rather than single
    channels; missing is 0 in [0, 1], black, whatever centring a network does; the mask is not shown to the
    network. Source: Lehtinen et al. 2018, section 3.2, equation 7.
    """
    valid = (uniform((*clean.shape[:-3], 1, *clean.shape[-2:]), generators) >= p).to(clean.dtype)
    return valid * clean, valid
