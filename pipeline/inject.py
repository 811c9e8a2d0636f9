"""Noise where the network is: workers ship crops as they are stored, and noise is drawn over whole batches of them."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.compiled import core
from pipeline.corruption import CorruptionConfig
from pipeline.picture import Pixels
from pipeline.randomness import key, mix

Inject = Literal["worker", "device"]

PLACES = 0x706C6163  # of the key: where crops are cut has numbers of its own
GOLDEN = 0x9E3779B97F4A7C15  # the step of splitmix64


class CleanCrops(NamedTuple):
    """What noise is to be drawn over."""

    pixels: Tensor
    """(N, 3, H, W), uint8 or uint16."""
    draws: Tensor
    """(N,), int64: the numbers of their draws, by which their noise is keyed."""


def places(seed: int, draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each draw where its crop is cut: four numbers in [0, 1), as `geometry.cropped_at` takes them.

    The generator splitmix64 (Steele, Lea and Flood 2014) at positions 4 draw to 4 draw + 3: a whole batch at once, as
    to set up a generator of torch's for every draw takes longer than to cut the crop.
    """
    position = 4 * draws.astype(np.uint64)[:, None] + np.arange(1, 5, dtype=np.uint64)
    words = mix(np.asarray(np.uint64(key(seed, PLACES)) + position * np.uint64(GOLDEN), np.uint64))
    return np.asarray((words >> np.uint64(11)) * 2.0**-53)


def stack(crops: list[Pixels], deep: bool, batch: Pixels | None = None) -> Tensor:
    """Crops (C, H, W) as one batch of three channels, of 8 bits or `deep` of 16, in which white is always 65535."""
    if batch is None:
        batch = np.empty((len(crops), 3, *crops[0].shape[1:]), np.uint16 if deep else np.uint8)
    for there, crop in zip(batch, crops, strict=True):
        if core:
            core.cut(there, crop)
        else:
            there[:] = crop.astype(np.uint16) * np.uint16(257) if deep and crop.dtype == np.uint8 else crop
    return torch.from_numpy(batch)


def unit(pixels: Tensor) -> Tensor:
    """The same as float32 in [0, 1]: the very numbers of `picture.to_unit`, on the tensor's device."""
    peak = 255.0 if pixels.dtype == torch.uint8 else 65535.0
    # Of a plain number torch takes the reciprocal on a GPU, which rounds otherwise.
    return pixels.float() / torch.full((), peak, device=pixels.device)


def drawn_on_device(inject: Inject, corruption: CorruptionConfig, capture: int | str) -> bool:
    """Whether noise leaves the workers: text, frequencies and captured versions do not."""
    return inject == "device" and corruption.law.device and capture == "fresh"
