"""A denoiser as one graph for other programs: noisy in, denoised out, all that is between inside."""

import torch
from torch import Tensor, nn

from model.network import Network
from model.padding import reflect_index


class Portable(nn.Module):
    """(N, C, H, W) in [0, 1] as encoded, any N, H and W, to the same; unclipped.

    Padding, centring and cropping are part of the graph. Memory grows with the picture: tiles are the caller's, with
    the network's `reach.context` pixels around them.
    """

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, noisy: Tensor) -> Tensor:
        height, width = noisy.shape[-2:]
        # Without asking whether there is anything to pad: a graph has one way through it for every size.
        padded, multiple = noisy, self.net.reach.multiple
        for axis, size in ((-2, height), (-1, width)):
            # Of positive numbers alone: ONNX rounds a quotient towards zero.
            whole = (size + multiple - 1) // multiple * multiple
            padded = padded.index_select(axis, reflect_index(size, whole, noisy.device))
        return self.net.of_whole_cells(padded)[..., :height, :width]


def exported(portable: nn.Module, channels: int) -> torch.export.ExportedProgram:
    """The graph for every size."""
    import torch.fx.experimental._config as symbols

    example = torch.rand(2, channels, 75, 107)  # of no size that could be taken for a constant
    dims = {axis: torch.export.Dim.AUTO for axis in (0, 2, 3)}
    # Otherwise sizes whose coarsest scale is one pixel are taken for constants, or refused.
    with symbols.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # torch installs it at import
        return torch.export.export(portable.eval(), (example,), dynamic_shapes=(dims,))
