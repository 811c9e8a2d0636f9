"""Which channels of a file are the radiance, the albedo, the normal, the depth and the variance, by their names.

Renderers agree on little. A channel's full name is taken as layer and component (`albedo.R`, `ViewLayer.Denoising
Normal.X`), the layer's name is compared without case, spaces, dashes and underscores, with and without what stands
before its last dots, and a part's name stands for a layer where its channels have none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.exr.container import Container
from pipeline.exr.header import Header, Window
from pipeline.exr.pixels import Channels, decode

COLOR, ALBEDO, NORMAL, DEPTH, VARIANCE = "color", "albedo", "normal", "depth", "variance"
BUFFERS = (COLOR, ALBEDO, NORMAL, DEPTH, VARIANCE)

# Of each buffer, the layers that hold it: the earlier the better. A denoiser's own buffers come before the general
# ones, as renderers that have both prepared the former for this. From the manuals and files of: Blender (Combined,
# Denoising Albedo), Arnold (RGBA, denoise_albedo, N, Z), RenderMan (Ci, albedo, normal, Nn), V-Ray (denoiser's
# diffuseFilter, normals, zDepth), Corona (VisibleDiffuse, VisibleNormals), Karma (C, albedo, N), Octane (DenAlbedo),
# Redshift (DiffuseFilter, BumpNormals), Mitsuba (albedo, sh_normal, depth) and OIDN's training files (hdr, alb, nrm).
LAYERS: dict[str, tuple[str, ...]] = {
    COLOR: (
        *("", "noisyimage", "rgba", "rgb", "rgbcolor", "beauty", "combined", "hdr", "ci", "c", "color", "colour"),
        *("radiance", "img", "render"),
    ),
    ALBEDO: (
        *("denoisingalbedo", "denoisealbedo", "denalbedo", "denoiseralbedo", "albedo", "alb", "diffusealbedo"),
        *("visiblediffuse", "diffusefilter", "difffilter", "diffcol", "diffusecolor", "basecolor", "diffuse"),
    ),
    NORMAL: (
        *("denoisingnormal", "denoisenormal", "dennormal", "denoisernormal", "normal", "normals", "nrm", "n"),
        *("visiblenormals", "optixnormals", "shnormal", "shadingnormal", "bumpnormals", "nn", "geonormal"),
    ),
    DEPTH: ("denoisingdepth", "depth", "z", "zdepth", "vrayzdepth"),
    VARIANCE: ("variance", "colorvariance", "rgbavariance", "rgbvariance", "beautyvariance", "var"),
}
COMPONENTS = {
    **{name: position for position, letters in enumerate(("rx", "gy", "bz")) for name in letters},
    **{"red": 0, "green": 1, "blue": 2},
}
SINGLE = ("z", "v", "t", "y", "r", "x", "depth", "")  # the one component of a depth: Blender Z or V, Mitsuba T
WIDTHS = {COLOR: (3,), ALBEDO: (3,), NORMAL: (3,), DEPTH: (1,), VARIANCE: (3, 1)}


@dataclass(frozen=True)
class Place:
    """Where a buffer is in a file: the part, and its channels from red to blue or from x to z."""

    part: int
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Patterns:
    """What a person says of a renderer's names: of a buffer, a pattern of its channels, such as `beauty.[RGB]`."""

    given: Mapping[str, str]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "Patterns":
        """From `BUFFER=PATTERN` as on a command line. Raises BadInput where that is something else."""
        given = {}
        for argument in arguments:
            buffer, _, pattern = argument.partition("=")
            if buffer not in BUFFERS or not pattern:
                wanted = f"BUFFER=PATTERN, where BUFFER is one of {', '.join(BUFFERS)}"
                raise BadInput("not a mapping of channels", "--channels", argument, wanted)
            given[buffer] = pattern
        return cls(given)

    def only(self, *buffers: str) -> "Patterns":
        return Patterns({name: pattern for name, pattern in self.given.items() if name in buffers})


def find_buffers(file: Container, patterns: Patterns | None = None) -> dict[str, Place]:
    """The buffers of a file that its names tell; those without one are missing.

    Raises BadInput where a pattern fits no channels, or not as many as its buffer has components.
    """
    given = patterns.given if patterns else {}
    layers = list_layers(file.headers)
    found = {name: by_pattern(file, name, pattern) for name, pattern in given.items()}
    taken = {place.channels for place in found.values()}
    for buffer in BUFFERS:
        place = None if buffer in found else by_name(layers, buffer)
        if place is None and buffer == COLOR and COLOR not in found:
            place = by_first_part(layers)
        if place is not None and place.channels not in taken:
            found[buffer] = place
    return {buffer: found[buffer] for buffer in BUFFERS if buffer in found}


def list_layers(headers: Sequence[Header]) -> dict[tuple[int, str], dict[str, str]]:
    """Of each (part, layer), the full channel names by component in lower case; deep parts have none.

    Of several parts, each lends its name to the channels that have no layer. A lone channel is a layer as well.
    """
    layers: dict[tuple[int, str], dict[str, str]] = {}
    for part, header in enumerate(headers):
        root = header.name if len(headers) > 1 else ""
        for channel in [] if header.deep else header.channels:
            layer, _, component = channel.name.rpartition(".")
            layers.setdefault((part, layer or root), {})[component.lower()] = channel.name
            if not layer and component.lower() not in COMPONENTS:
                layers.setdefault((part, channel.name), {})[""] = channel.name
        plain = layers.get((part, root), {})
        if "z" in plain and "x" not in plain:
            layers.setdefault((part, plain["z"]), {})[""] = plain["z"]
    return layers


def by_name(layers: Mapping[tuple[int, str], Mapping[str, str]], buffer: str) -> Place | None:
    """The best-named layer that has the components; of equals, the first in the file."""
    best: tuple[int, int, int] | None = None
    place = None
    for number, ((part, layer), members) in enumerate(layers.items()):
        channels = components(members, buffer)
        ranks = [LAYERS[buffer].index(name) for name in short_names(layer) if name in LAYERS[buffer]]
        if channels is None or not ranks:
            continue
        rank = (min(ranks), part, number)
        if best is None or rank < best:
            best, place = rank, Place(part, channels)
    return place


def by_first_part(layers: Mapping[tuple[int, str], Mapping[str, str]]) -> Place | None:
    """The colour of the first part, where it has one and no name that says what else it is."""
    known = {name for names in LAYERS.values() for name in names}
    for (part, layer), members in layers.items():
        channels = components(members, COLOR)
        plain = channels is not None and "." not in channels[0]
        if part == 0 and channels and plain and not known & set(short_names(layer)):
            return Place(part, channels)
    return None


def short_names(layer: str) -> list[str]:
    """`ViewLayer.Denoising Albedo` may be that, or `Denoising Albedo`: normalised, from the longest."""
    pieces = layer.split(".")
    return [re.sub(r"[\s_-]", "", "".join(pieces[start:])).lower() for start in range(len(pieces))]


def components(members: Mapping[str, str], buffer: str) -> tuple[str, ...] | None:
    three: dict[int, str] = {}
    for component, name in members.items():
        if component in COMPONENTS:
            three.setdefault(COMPONENTS[component], name)
    if 3 in WIDTHS[buffer] and len(three) == 3:
        return tuple(three[position] for position in range(3))
    if 1 in WIDTHS[buffer]:
        return next(((members[name],) for name in SINGLE if name in members), None)
    return None


def by_pattern(file: Container, buffer: str, pattern: str) -> Place:
    """The channels that a person's pattern fits, as `CHANNEL` or `PART/CHANNEL`, in the order of their components."""
    for part, header in enumerate(file.headers):
        fitting = [
            channel.name
            for channel in ([] if header.deep else header.channels)
            if fnmatchcase(channel.name, pattern) or fnmatchcase(f"{header.name}/{channel.name}", pattern)
        ]
        if len(fitting) in WIDTHS[buffer]:
            order = [COMPONENTS.get(name.rpartition(".")[2].lower(), 9) for name in fitting]
            return Place(part, tuple(name for _, name in sorted(zip(order, fitting, strict=True))))
    raise BadInput(
        f"no channels for {buffer}",
        where=file.where,
        got=f"--channels {buffer}={pattern}, of channels {listed(file)}",
        wanted=" or ".join(f"{width} channels" for width in WIDTHS[buffer]),
        todo="write the pattern as the file spells its channels; * and [RGB] are understood",
    )


def listed(file: Container) -> str:
    """Every channel of a file, for a message."""
    several = len(file.headers) > 1
    names = [
        f"{header.name}/{channel.name}" if several else channel.name
        for header in file.headers
        for channel in header.channels
    ]
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")


@dataclass(frozen=True)
class Frame:
    """A file's buffers, each (C, H, W) over the data window of its colour, in the type of the file."""

    buffers: dict[str, NDArray[np.generic]]
    places: dict[str, Place]
    decoded: dict[int, Channels]
    """Every channel of the parts that hold buffers."""
    window: Window


def read_frame(file: Container, patterns: Patterns | None = None, only: str = "") -> Frame:
    """Decode the buffers of a file. With `only`, its one picture is that buffer whatever its channels are called;
    beside radiance there may be layers all the same.

    Raises BadInput where there is no radiance, or where it is damaged.
    """
    main = only or COLOR
    places = find_buffers(file, patterns) if main == COLOR else {}
    if only and main not in places:
        places[main] = by_position(file, main)
    if main not in places:
        raise BadInput(
            "no radiance in an OpenEXR file",
            where=file.where,
            got=f"channels {listed(file)}",
            wanted="R, G, B or a layer such as Combined.R, beauty.R, rgba.R",
            todo="name them: --channels 'color=LAYER.[RGB]'",
        )
    decoded = {part: decode(file, part) for part in sorted({place.part for place in places.values()})}
    window = file.headers[places[main].part].window
    buffers = {}
    for name, place in places.items():
        planes = [decoded[place.part][channel] for channel in place.channels]
        if any(plane.shape != file.headers[place.part].window.shape for plane in planes):
            raise BadInput("subsampled channels", file.where, ", ".join(place.channels), "full resolution")
        buffers[name] = over_window(np.stack(planes), file.headers[place.part].window, window)
    return Frame(buffers, places, decoded, window)


def by_position(file: Container, buffer: str) -> Place:
    """In a file that is one buffer, the channels by their usual components, or else the first ones."""
    for (part, _), members in list_layers(file.headers[:1]).items():
        channels = components(members, buffer)
        if channels:
            return Place(part, channels)
    names = [channel.name for channel in file.headers[0].channels]
    if len(names) < min(WIDTHS[buffer]):
        wanted = f"{min(WIDTHS[buffer])} channels"
        raise BadInput(f"no {buffer} in an OpenEXR file", file.where, f"channels {listed(file)}", wanted)
    return Place(0, tuple(names[: WIDTHS[buffer][0]]))


def over_window(planes: NDArray[np.generic], window: Window, wanted: Window) -> NDArray[np.generic]:
    """A buffer cut or filled with zeros to another part's data window."""
    if window == wanted:
        return planes
    result = np.zeros((len(planes), *wanted.shape), planes.dtype)
    left, top = max(window.left, wanted.left), max(window.top, wanted.top)
    right, bottom = min(window.right, wanted.right) + 1, min(window.bottom, wanted.bottom) + 1
    if left < right and top < bottom:
        cut = planes[:, top - window.top : bottom - window.top, left - window.left : right - window.left]
        result[:, top - wanted.top : bottom - wanted.top, left - wanted.left : right - wanted.left] = cut
    return result
