"""The mean over flips and turns of a picture: slower, and a little closer to the clean one."""

from collections.abc import Callable

import torch
from torch import Tensor

from model.padding import pad_to_multiple


def self_ensemble(
    net: Callable[[Tensor], Tensor], multiple: int, quarter_turns: bool = True
) -> Callable[[Tensor], Tensor]:
    """A network on (N, C, H, W) that is the mean of this one over the square's eight symmetries.

    Or over the four that keep rows rows, without quarter turns. Source: Timofte, Rothe and Van Gool 2016, section 3.7.
    Pictures are padded to a multiple before they are turned, so that poolings fall on the same pixels in a tile and in
    the whole picture.
    """
    every = range(4) if quarter_turns else (0, 2)

    def mean(noisy: Tensor) -> Tensor:
        height, width = noisy.shape[-2:]
        padded = pad_to_multiple(noisy, multiple)
        total: Tensor | None = None
        for flipped in (False, True):
            for turns in every:
                view = torch.rot90(padded.flip(-1) if flipped else padded, turns, (-2, -1))
                back = torch.rot90(net(view.contiguous()), -turns, (-2, -1))
                back = back.flip(-1) if flipped else back
                total = back if total is None else total + back
        assert total is not None
        return total[..., :height, :width] / (2 * len(every))

    return mean
