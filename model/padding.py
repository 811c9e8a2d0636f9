"""Padding by reflection for pictures of any size, down to one pixel."""

import torch
from torch import Tensor


def reflect_index(size: int, padded: int, device: torch.device | None = None) -> Tensor:
    """Positions 0..padded-1 folded back into 0..size-1 by reflection about the last pixel, as often as needed.

    3 to 8: 0 1 2 1 0 1 2 1. A single pixel is repeated.
    """
    # A tensor, as sizes are symbols where a network is exported, and ONNX has no remainder by a symbol.
    period = torch.full((1,), torch.sym_max(2 * (size - 1), 1), dtype=torch.int64, device=device)
    position = torch.arange(padded, device=device).remainder(period)
    return torch.minimum(position, period - position)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad (..., H, W) at the bottom and right so that both are multiples; the same tensor where they are."""
    height, width = x.shape[-2:]
    padded_height = -(-height // multiple) * multiple
    padded_width = -(-width // multiple) * multiple
    if padded_height != height:
        x = x.index_select(-2, reflect_index(height, padded_height, x.device))
    if padded_width != width:
        x = x.index_select(-1, reflect_index(width, padded_width, x.device))
    return x
