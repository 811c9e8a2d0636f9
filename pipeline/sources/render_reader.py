"""The files of one realisation -> its buffers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.exr.buffers import COLOR, Frame, Patterns, read_frame
from pipeline.exr.container import Container, parse
from pipeline.sources.renders import Realisation

Buffers = dict[str, NDArray[np.generic]]


@dataclass
class Render:
    """One realisation: the file that its radiance is in, and color (3, H, W) with all auxiliary buffers."""

    file: Container
    frame: Frame
    buffers: Buffers


def radiance_path(one: Realisation) -> Path:
    """The file of a realisation that its radiance is in."""
    return next(file.path for file in one.files if file.buffer in ("", COLOR))


def read_render(one: Realisation, patterns: Patterns | None = None) -> Render:
    """Read every file of a realisation. A file that is one auxiliary buffer by its name is that; layers tell the rest.

    Raises BadInput where one cannot be read, is damaged, holds whole numbers, or is of another size.
    """
    main = radiance_path(one)
    render: Render | None = None
    for file in sorted(one.files, key=lambda file: file.path != main):
        try:
            container = parse(file.path.read_bytes(), file.title)
        except OSError as error:
            raise BadInput("a render cannot be read", file.path, error.strerror or str(error)) from error
        frame = read_frame(container, patterns, file.buffer)
        render = render or Render(container, frame, {})
        for name, planes in frame.buffers.items():
            if name not in render.buffers or file.buffer == name:
                render.buffers[name] = planes
    assert render is not None
    refuse_unfit(render.buffers, main)
    return render


def refuse_unfit(buffers: Buffers, where: Path) -> None:
    sizes = {name: f"{planes.shape[2]} x {planes.shape[1]}" for name, planes in buffers.items()}
    if len(set(sizes.values())) > 1:
        raise BadInput("buffers of different sizes", where, str(sizes), "one size for all of a frame")
    for name, planes in buffers.items():
        if planes.dtype.kind != "f":
            raise BadInput(f"{name} of whole numbers", where, str(planes.dtype), "half or float")
