"""Intel's Open Image Denoise, to be measured beside our own denoisers of renders; from the `eval` extra.

It was trained on many scenes with references; on radiance alone it is `oidn-color`, with albedo and normal `oidn`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from launch.evaluation.baselines import imported
from launch.evaluation.render_scores import Denoise
from pipeline.errors import BadInput
from pipeline.radiance import Planes

RENDER_BASELINES: dict[str, tuple[str, ...]] = {"oidn": ("albedo", "normal"), "oidn-color": ()}


def render_baseline(name: str) -> Denoise:
    """Raises BadInput where its library is not installed, or where it is a baseline for pictures."""
    if name not in RENDER_BASELINES:
        raise BadInput("not a baseline for renders", f"--baseline {name}", wanted=" or ".join(RENDER_BASELINES))
    library = imported(name, "pyoidn")

    def denoise(buffers: Mapping[str, NDArray[np.generic]], _exposure: float) -> Planes:
        lacking = [buffer for buffer in RENDER_BASELINES[name] if buffer not in buffers]
        if lacking:
            got = f"{', '.join(sorted(buffers))}"
            todo = "measure oidn-color instead"
            raise BadInput("frames without a buffer that the baseline takes", f"--baseline {name}", got, todo=todo)
        shown = {buffer: rows(buffers[buffer]) for buffer in RENDER_BASELINES[name]}
        if "albedo" in shown:
            shown["albedo"] = shown["albedo"].clip(0, 1)
        denoised = library.denoise(rows(buffers["color"]), hdr=True, **shown)
        return np.ascontiguousarray(denoised.transpose(2, 0, 1), dtype=np.float32)

    return denoise


def rows(planes: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W, C)."""
    return np.ascontiguousarray(planes.astype(np.float32).transpose(1, 2, 0))
