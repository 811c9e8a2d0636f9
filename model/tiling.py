"""Pictures larger than memory: cut into tiles with enough context that no seam can be told."""

from collections.abc import Callable

import torch
from torch import Tensor

from model.padding import pad_to_multiple
from model.unet import CONTEXT, MULTIPLE

TILE = 1024  # pixels a side, before context: about 2 GB for the U-Net in float32


@torch.no_grad()
def denoise_tiled(net: Callable[[Tensor], Tensor], noisy: Tensor, tile: int = TILE) -> Tensor:
    """Denoise (C, H, W) of any size in bounded memory; equal to net(noisy) up to rounding.

    Each tile is read with CONTEXT pixels around it, which is as far as the network sees, and at a multiple of its
    poolings; so a tile's pixels are those of the whole picture and nothing is blended.
    """
    height, width = noisy.shape[-2:]
    step = max(MULTIPLE, tile // MULTIPLE * MULTIPLE)
    if height <= step and width <= step:
        return net(noisy[None])[0]
    padded = pad_to_multiple(noisy, MULTIPLE)  # so that the last tiles end where the whole picture would
    rows, columns = padded.shape[-2:]
    result: Tensor | None = None
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            y, x = max(0, top - CONTEXT), max(0, left - CONTEXT)
            view = padded[:, y : min(rows, top + step + CONTEXT), x : min(columns, left + step + CONTEXT)]
            core = net(view[None])[0, :, top - y : top - y + step, left - x : left - x + step]
            if result is None:
                result = core.new_empty(core.shape[0], rows, columns)
            result[:, top : top + step, left : left + step] = core
    assert result is not None  # there is at least one tile
    return result[:, :height, :width]
