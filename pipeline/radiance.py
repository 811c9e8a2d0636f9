"""Linear radiance and its auxiliary buffers, as a network takes them in.

A noisy target stays linear: the mean of its tone-mapped values is darker than the tone-mapped mean, so only the
source may be bent (Lehtinen et al. 2018, section 3.3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput

Planes = NDArray[np.float32]

AUXILIARY = {"albedo": 3, "normal": 3, "depth": 1}  # channels, in the order in which the network takes them
KEY = 0.18  # middle grey, to which the log-average luminance is brought: Reinhard et al. 2002, equation 2
LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
DARKEST = 0.01  # where the logarithm begins, and the loss's relative errors end
BIN = 16  # pixels a side that are averaged before the logarithm, which would make noise darker
DARK = 1e-8
GAMMA = 2.2

# Mantiuk and Azimi 2021, "PU21: A novel perceptually uniform encoding for adapting existing quality metrics for HDR",
# the fit named banding_glare; 1 is taken for 100 cd/m^2, the white of a display.
PU21 = (0.353487901, 0.3734658629, 8.277049286e-05, 0.9062562627, 0.09150303166, 0.9099517204, 596.3148142)
PU_WHITE = 100.0


@dataclass(frozen=True, kw_only=True)
class RendersConfig:
    """What a network is shown of a render. network.in_channels must be 3 and those of the buffers."""

    transfer: Literal["reinhard", "log", "pu"] = "reinhard"
    """Of the exposed source: (v / (1 + v))^(1 / 2.2) as in the paper, log(1 + 100 v) / 5.9, or PU21."""
    buffers: tuple[Literal["albedo", "normal", "depth"], ...] = ()
    """Auxiliary buffers of the source's own realisation that are shown beside its radiance."""
    output: Literal["log", "linear"] = "log"
    """What the network puts out: a logarithm of radiance, or radiance itself, whose training is unstable."""
    target: Literal["others", "one"] = "others"
    """Of a frame's further realisations, the target is the mean by samples per pixel, or one that the draw picks."""
    importance: float = 0.0
    """Share of the crops that are placed where the source is noisy, rather than anywhere. Noise is measured in the
    source alone, so that the mean of the targets stays."""

    def __post_init__(self) -> None:
        if not 0 <= self.importance <= 1:
            raise ValueError(f"renders.importance is {self.importance}; wanted a share, 0 to 1")
        if len(set(self.buffers)) < len(self.buffers):
            raise ValueError(f"renders.buffers is {list(self.buffers)}; wanted each once")

    @property
    def channels(self) -> int:
        return 3 + sum(AUXILIARY[buffer] for buffer in self.buffers)


def reinhard(radiance: Planes) -> Planes:
    """[0, inf) -> [0, 1): Lehtinen et al. 2018, section 3.3. Display and input to the network."""
    positive = np.maximum(radiance, 0)
    bent: Planes = (positive / (1 + positive)) ** np.float32(1 / GAMMA)
    return bent


def logarithm(radiance: Planes) -> Planes:
    """[0, inf) -> [0, inf), 0.18 -> 0.5, 1 -> 0.78, 65504 -> 2.66: the code that a network puts out (model/light.py).

    A tone map shows lamps of radiance 50 and of 500 as 0.991 and 0.999, and a network cannot tell them apart.
    """
    bent = np.log1p(np.maximum(radiance, 0) / np.float32(DARKEST)) / (2 * np.log1p(KEY / DARKEST))
    return bent.astype(np.float32)


def pu21(radiance: Planes) -> Planes:
    """Perceptually uniform steps: 0 -> 0, 1 -> about 1, 100 -> about 2."""
    a, b, c, d, e, f, g = PU21
    power = (PU_WHITE * np.maximum(radiance, 0).astype(np.float64)) ** d
    bent = np.maximum(g * (((a + b * power) / (1 + c * power)) ** e - f), 0) / 256
    return bent.astype(np.float32)


TRANSFERS: dict[str, Callable[[Planes], Planes]] = {"reinhard": reinhard, "log": logarithm, "pu": pu21}


def auto_exposure(radiance: NDArray[np.generic]) -> float:
    """The factor that brings the log-average luminance of (3, H, W) to middle grey; 1 for a black frame.

    Luminance is averaged over squares first, so that noise moves the factor little.
    """
    luminance = np.tensordot(np.asarray(LUMINANCE), np.maximum(np.asarray(radiance, np.float32), 0), axes=1)
    rows, columns = (np.arange(0, length, BIN) for length in luminance.shape)
    sums = np.add.reduceat(np.add.reduceat(luminance, rows, axis=0), columns, axis=1)
    counts = np.multiply.outer(
        *(np.diff([*edges, length]) for edges, length in zip((rows, columns), luminance.shape, strict=True))
    )
    bins = sums / counts
    lit = bins[bins > DARK]
    return float(KEY / np.exp(np.log(lit).mean())) if lit.size else 1.0


def network_input(
    buffers: Mapping[str, NDArray[np.generic]], exposure: float, config: RendersConfig, where: object = ""
) -> Planes:
    """One realisation's buffers, (C, H, W) each, as the (channels, H, W) that a network takes.

    Albedo is clipped to [0, 1], normals to [-1, 1] and moved to [0, 1], depth becomes 1 / (1 + depth), 0 at
    infinity; NaN is taken for 0. Raises BadInput where a buffer that the network was trained with is missing.
    """
    lacking = [name for name in config.buffers if name not in buffers]
    if lacking:
        raise BadInput(
            "a frame without a buffer that the network needs",
            where,
            f"{', '.join(buffers)}",
            f"also {', '.join(lacking)}",
            "render it, name it with --channels, or use a network that was trained without",
        )
    color = np.asarray(buffers["color"], np.float32) * np.float32(exposure)
    planes = [TRANSFERS[config.transfer](color)]
    for name in config.buffers:
        values = np.asarray(buffers[name], np.float32)
        planes.append(SHOWN[name](np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)))
    return np.concatenate(planes)


def unit_albedo(albedo: Planes) -> Planes:
    return np.clip(albedo, 0, 1)


def unit_normal(normal: Planes) -> Planes:
    return ((np.clip(normal, -1, 1) + 1) / 2).astype(np.float32)


def inverse_depth(depth: Planes) -> Planes:
    return (1 / (1 + np.maximum(depth, 0))).astype(np.float32)


SHOWN: dict[str, Callable[[Planes], Planes]] = {"albedo": unit_albedo, "normal": unit_normal, "depth": inverse_depth}


def fill_non_finite(planes: NDArray[np.generic]) -> tuple[NDArray[np.generic], int]:
    """(C, H, W) with each pixel that has NaN or infinity replaced by the mean of its finite neighbours, and how many.

    Larger holes are filled from their edges, eight pixels deep; what is left becomes 0. The same array where all is
    finite.
    """
    bad = ~np.isfinite(planes).all(axis=0)
    count = int(bad.sum())
    if not count:
        return planes, 0
    filled = np.where(bad, 0, planes).astype(np.float32)
    for _ in range(8):
        near = _around(~bad)
        mean = _around(filled) / np.maximum(near, 1)
        reached = bad & (near > 0)
        filled[:, reached] = mean[:, reached]
        bad &= ~reached
        if not bad.any():
            break
    return filled.astype(planes.dtype), count


def _around(planes: NDArray[np.generic]) -> Planes:
    """The sum over the 3 x 3 pixels around each; nothing outside the frame."""
    edges = [(0, 0)] * (planes.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(planes.astype(np.float32), edges)
    height, width = planes.shape[-2:]
    total = np.zeros(planes.shape, np.float32)
    for down in range(3):
        for right in range(3):
            total += padded[..., down : down + height, right : right + width]
    return total
