"""One source -> the samples that it becomes, or the reason why it becomes none."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.picture import Pixels, decode
from pipeline.sharding.header import Bytes, Header, read_header
from pipeline.sharding.slices import is_picture_npy, read_slices, require_nibabel
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import PIXELS, StorageConfig, as_npy, fit, from_npy
from pipeline.sources.contents import Contents
from pipeline.sources.listing import SourceFile
from pipeline.sources.members import is_nifti, is_volume

DIGEST = "0" * 64  # stands for a SHA-256 that will be filled in


@dataclass(frozen=True)
class Sample:
    """A picture ready for its shard: the bytes to store, under which extension, and what is said of it."""

    data: Bytes
    extension: str
    header: Header
    about: dict[str, Any]


class Read(NamedTuple):
    """A source as its file is: the bytes, and their SHA-256 in hexadecimal digits, or DIGEST until it is known."""

    source: SourceFile
    data: Bytes
    sha256: str


def ingest(
    read: Read, contents: Contents, storage: StorageConfig, levels: Levels, measure: bool
) -> list[Sample | LeftOut] | LeftOut:
    """Check one source; with `measure` its levels are counted even where it need not be decoded.

    A picture that cannot train is left out with the reason. Raises BadInput for a volume where what reads such is not
    installed.
    """
    source, data, _ = read
    if is_volume(source.name) and not is_picture_npy(bytes(data)):
        return ingest_volume(read, contents, storage, levels)
    pixels, extension = None, PIXELS
    header = read_header(data) if storage.check == "header" else None
    if header is not None:
        extension = storage.extension(source.name, header)
    try:
        if header is None or measure or extension == PIXELS:
            pixels = decoded(bytes(data), source)
            header = Header(pixels.shape[1], pixels.shape[2], len(pixels), 8 * pixels.itemsize)
            extension = storage.extension(source.name, header)
    except BadInput as error:
        what, _, got, wanted, _ = error.args
        return LeftOut(source.title, "unreadable", f"{what}: {got}, wanted {wanted}")
    if min(header.height, header.width) < storage.min_side:
        return too_small(source, header, storage)
    about = describe(read, contents, header)
    if extension != PIXELS:
        if pixels is not None:
            levels.add(pixels)
        return [Sample(data, extension, header, about)]
    assert pixels is not None
    return decoded_samples(pixels, storage, levels, about)


def ingest_volume(
    read: Read, contents: Contents, storage: StorageConfig, levels: Levels
) -> list[Sample | LeftOut] | LeftOut:
    """The slices of a volume, a sample each, and what is said of the empty ones: they are left out."""
    source, data, _ = read
    if is_nifti(source.name):
        require_nibabel(source.where)
    try:
        slices = read_slices(bytes(data), source.name, source.title)
    except BadInput as error:
        what, _, got, wanted, _ = error.args
        return LeftOut(source.title, "unreadable", f"{what}: {got}, wanted {wanted}")
    _, height, width = slices.pixels[0].shape
    header = Header(height, width, 1, 8 * slices.pixels[0].itemsize)
    if min(height, width) < storage.min_side:
        return too_small(source, header, storage)
    about = describe(read, contents, header)
    if slices.scale is not None:
        about |= {"encoding": "linear", "scale": slices.scale}
    samples: list[Sample | LeftOut] = []
    for number, pixels in zip(slices.numbers, slices.pixels, strict=True):
        samples += decoded_samples(pixels, storage, levels, {**about, "slice": number, "slices": slices.total})
    if empty := slices.total - len(slices.numbers):
        samples.append(LeftOut(source.title, "empty", f"{empty} of {slices.total} slices hold nothing"))
    return samples


def too_small(source: SourceFile, header: Header, storage: StorageConfig) -> LeftOut:
    reason = f"{header.width} x {header.height} pixels, wanted at least {storage.min_side} on each side"
    return LeftOut(source.title, "small", reason)


def decoded(data: bytes, source: SourceFile) -> Pixels:
    return from_npy(data, source.title) if source.name.endswith(".npy") else decode(data, source.title).pixels


def decoded_samples(
    pixels: Pixels, storage: StorageConfig, levels: Levels, about: dict[str, Any]
) -> list[Sample | LeftOut]:
    tiles = fit(pixels, storage)
    samples: list[Sample | LeftOut] = []
    for tile in tiles:
        channels, height, width = tile.pixels.shape
        levels.add(tile.pixels)
        place = {"tile": [tile.top, tile.left]} if len(tiles) > 1 else {}
        sizes = {"width": width, "height": height, "channels": channels}
        header = Header(height, width, channels, about["bits"])
        samples.append(Sample(as_npy(tile.pixels), PIXELS, header, {**about, **sizes, **place}))
    return samples


def describe(read: Read, contents: Contents, header: Header) -> dict[str, Any]:
    """What KEY.json says. A picture of our own sets keeps what was said of it first."""
    earlier = contents.about(read.source)
    ours = {name: earlier[name] for name in ("source", "sha256") if isinstance(earlier.get(name), str)}
    return {
        "source": read.source.title,
        "width": header.width,
        "height": header.height,
        "channels": header.channels,
        "bits": header.bits,
        "encoding": "srgb",
        "sha256": read.sha256,
        **(ours if len(ours) == 2 else {}),
        **({"about": earlier} if earlier and len(ours) < 2 else {}),
    }
