"""Pictures larger than memory: cut into tiles with enough context that no seam can be told."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from model.network import Reach

TILE = 1024  # pixels a side, before context: about 2 GB for the U-Net in float32


class Window(NamedTuple):
    """Rows and columns of a picture, as [top, bottom) and [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    def around(self, height: int, width: int, context: int) -> "Window":
        """The same with `context` pixels on every side, as far as the picture goes."""
        return Window(
            max(0, self.top - context),
            min(height, self.bottom + context),
            max(0, self.left - context),
            min(width, self.right + context),
        )

    def of(self, picture: Tensor) -> Tensor:
        return picture[..., self.top : self.bottom, self.left : self.right]


def tiles(height: int, width: int, multiple: int, tile: int = TILE) -> Iterator[Window]:
    """The picture in tiles, row by row; their corners are at multiples of the network's scales."""
    step = max(multiple, tile // multiple * multiple)
    for top in range(0, height, step):
        for left in range(0, width, step):
            yield Window(top, min(height, top + step), left, min(width, left + step))


@torch.no_grad()
def denoise_windows(
    net: Callable[[Tensor], Tensor],
    read: Callable[[Window], Tensor],
    windows: Iterator[Window],
    size: tuple[int, int],
    context: int,
    batch: int = 1,
) -> Iterator[tuple[Window, Tensor]]:
    """Denoise a picture window by window: what `read` gives of it as (C, h, w), on the network's device.

    Each window is read with `context` pixels around it, which is as far as the network sees; so its pixels are those of
    the whole picture up to rounding, and nothing is blended. Up to `batch` windows of one size go through together,
    so they may come out of order.
    """
    waiting: dict[tuple[int, ...], list[tuple[Window, Window, Tensor]]] = {}

    def flush(shape: tuple[int, ...]) -> Iterator[tuple[Window, Tensor]]:
        group = waiting.pop(shape)
        for (window, view, _), denoised in zip(group, net(torch.stack([part for _, _, part in group])), strict=True):
            top, left = window.top - view.top, window.left - view.left
            yield window, denoised[:, top : top + window.bottom - window.top, left : left + window.right - window.left]

    for window in windows:
        view = window.around(*size, context)
        part = read(view)
        waiting.setdefault(part.shape, []).append((window, view, part))
        if len(waiting[part.shape]) == batch:
            yield from flush(part.shape)
    for shape in list(waiting):
        yield from flush(shape)


def denoise_tiled(
    net: Callable[[Tensor], Tensor], noisy: Tensor, reach: Reach, tile: int = TILE, batch: int = 1
) -> Tensor:
    """Denoise (C, H, W) of any size, `batch` tiles at a time; equal to net(noisy) up to rounding."""
    height, width = noisy.shape[-2:]
    result: Tensor | None = None
    windows = tiles(height, width, reach.multiple, tile)
    for window, core in denoise_windows(
        net, lambda view: view.of(noisy), windows, (height, width), reach.context, batch
    ):
        if result is None:
            result = core.new_empty(core.shape[0], height, width)
        window.of(result).copy_(core)
    assert result is not None  # there is at least one tile
    return result
