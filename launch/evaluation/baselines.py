"""Denoisers that learn nothing, to be measured beside those that do; from the `eval` extra.

Under white Gaussian noise they are told its sigma; under any other they are given an estimate of it from the
picture (the median of wavelet details, Donoho and Johnstone 1994), as they know no other noise.
"""

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from launch.evaluation.scores import Denoise
from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput

BASELINES = {
    "bm3d": "bm3d",  # Dabov, Foi, Katkovnik and Egiazarian 2007, by its authors: for research alone
    "nlm": "skimage.restoration",  # non-local means: Buades, Coll and Morel 2005
}


def baseline(name: str, corruption: CorruptionConfig) -> Denoise:
    """A baseline for pictures under this corruption. Raises BadInput where its library is not installed."""
    library = imported(name, BASELINES[name])
    restoration = imported(name, "skimage.restoration")

    def denoise(noisy: Tensor) -> Tensor:
        picture = noisy.numpy().transpose(1, 2, 0)
        denoised = METHODS[name](library, picture, sigma_of(restoration, picture, corruption))
        return torch.from_numpy(np.ascontiguousarray(denoised.transpose(2, 0, 1), dtype=np.float32))

    return denoise


def imported(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        todo = "install the extra: pip install -e '.[eval]'"
        raise BadInput("a baseline is not installed", f"--baseline {name}", str(error), module, todo) from error


def sigma_of(restoration: ModuleType, picture: NDArray[Any], corruption: CorruptionConfig) -> float:
    sigma_255 = corruption.numbers.get("sigma_255")
    if corruption.name == "gaussian" and isinstance(sigma_255, (int, float)):
        return sigma_255 / 255
    return float(restoration.estimate_sigma(picture, average_sigmas=True, channel_axis=2))


def bm3d(library: ModuleType, picture: NDArray[Any], sigma: float) -> NDArray[Any]:
    denoised: NDArray[Any] = library.bm3d_rgb(picture, sigma)
    return denoised


def nlm(library: ModuleType, picture: NDArray[Any], sigma: float) -> NDArray[Any]:
    """Patches of 5x5 within 13x13 and h of 0.6 sigma, as scikit-image's example has it for the fast form."""
    denoised: NDArray[Any] = library.denoise_nl_means(
        picture, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=2
    )
    return denoised


METHODS = {"bm3d": bm3d, "nlm": nlm}
