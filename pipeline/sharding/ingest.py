"""One source -> the samples that it becomes, or the reason why it becomes none."""

import hashlib
from dataclasses import dataclass
from typing import Any

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.picture import Pixels, decode
from pipeline.sharding.header import Header, read_header
from pipeline.sharding.statistics import Levels
from pipeline.sharding.storage import PIXELS, StorageConfig, as_npy, fit, from_npy
from pipeline.sources.contents import Contents
from pipeline.sources.listing import SourceFile


@dataclass(frozen=True)
class Sample:
    """A picture ready for its shard: the bytes to store, under which extension, and what is said of it."""

    data: bytes
    extension: str
    header: Header
    about: dict[str, Any]


def ingest(
    source: SourceFile, contents: Contents, storage: StorageConfig, levels: Levels, measure: bool
) -> list[Sample] | LeftOut:
    """Read and check one source; with `measure` its levels are counted even where it need not be decoded.

    A picture that cannot train is left out with the reason. Raises BadInput where it has vanished or changed.
    """
    data = contents.read(source)
    if isinstance(data, LeftOut):
        return data
    pixels, extension = None, PIXELS
    header = read_header(data) if storage.check == "header" else None
    if header is not None:
        extension = storage.extension(source.name, header)
    try:
        if header is None or measure or extension == PIXELS:
            pixels = decoded(data, source)
            header = Header(pixels.shape[1], pixels.shape[2], len(pixels), 8 * pixels.itemsize)
            extension = storage.extension(source.name, header)
    except BadInput as error:
        what, _, got, wanted, _ = error.args
        return LeftOut(source.title, "unreadable", f"{what}: {got}, wanted {wanted}")
    if min(header.height, header.width) < storage.min_side:
        reason = f"{header.width} x {header.height} pixels, wanted at least {storage.min_side} on each side"
        return LeftOut(source.title, "small", reason)
    about = describe(source, contents, header, data)
    if extension != PIXELS:
        if pixels is not None:
            levels.add(pixels)
        return [Sample(data, extension, header, about)]
    assert pixels is not None
    return decoded_samples(pixels, storage, levels, about)


def decoded(data: bytes, source: SourceFile) -> Pixels:
    return from_npy(data, source.title) if source.name.endswith(".npy") else decode(data, source.title).pixels


def decoded_samples(pixels: Pixels, storage: StorageConfig, levels: Levels, about: dict[str, Any]) -> list[Sample]:
    tiles = fit(pixels, storage)
    samples = []
    for tile in tiles:
        channels, height, width = tile.pixels.shape
        levels.add(tile.pixels)
        place = {"tile": [tile.top, tile.left]} if len(tiles) > 1 else {}
        sizes = {"width": width, "height": height, "channels": channels}
        header = Header(height, width, channels, about["bits"])
        samples.append(Sample(as_npy(tile.pixels), PIXELS, header, {**about, **sizes, **place}))
    return samples


def describe(source: SourceFile, contents: Contents, header: Header, data: bytes) -> dict[str, Any]:
    """What KEY.json says. A picture of our own sets keeps what was said of it first."""
    earlier = contents.about(source)
    ours = {name: earlier[name] for name in ("source", "sha256") if isinstance(earlier.get(name), str)}
    return {
        "source": source.title,
        "width": header.width,
        "height": header.height,
        "channels": header.channels,
        "bits": header.bits,
        "encoding": "srgb",
        "sha256": hashlib.sha256(data).hexdigest(),
        **(ours if len(ours) == 2 else {}),
        **({"about": earlier} if earlier and len(ours) < 2 else {}),
    }
