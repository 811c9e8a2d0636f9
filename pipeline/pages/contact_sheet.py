"""The first pictures of a set, small, with where each came from."""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.errors import BadInput
from pipeline.foreign import KIND
from pipeline.index import REMAKE, idx_name
from pipeline.picture import Pixels
from pipeline.reader import BLOCK, ShardSet

SIDE = 200  # pixels: sharp at the 150 or so that a page gives each
QUALITY = 80


@dataclass(frozen=True)
class Thumbnail:
    """A picture of the set as JPEG, its key in the shard, and its source and size before it was made small."""

    jpeg: bytes
    key: str
    source: str
    width: int
    height: int


def thumbnails(shards: ShardSet, count: int) -> Iterator[Thumbnail]:
    """The first `count` samples, in the set's order.

    Raises BadInput where a picture is damaged. What is said of its source has no checksum but its shard's, which
    `n2n inspect --verify` computes.
    """
    members = iter(()) if shards.index.options.get("kind") == KIND else members_of(shards)
    for sample in range(min(count, len(shards))):
        pixels = shards.pixels(sample)
        key, offset, size = next(members, ("", 0, 0))
        height, width = pixels.shape[1:]
        # Tars of others have nothing of ours beside a picture: what there is of it are its tar and its name.
        source = source_of(shards, sample, offset, size) if key else shards.shard_path(sample).name
        yield Thumbnail(small_jpeg(pixels), key or name_of(shards, sample), source, width, height)


def members_of(shards: ShardSet) -> Iterator[tuple[str, int, int]]:
    """Key of each sample, and place and size of its JSON, as the indices beside the shards have them."""
    for shard in shards.index.shards:
        path = shards.folder / idx_name(shard.name)
        try:
            lines = path.read_text("ascii").splitlines()[1:]
            for line in lines:
                words = line.split(" ")
                at = words.index("json")
                yield words[3].rpartition(".")[0], int(words[at + 1]), int(words[at + 2])
        except (OSError, ValueError, IndexError) as error:
            raise BadInput("an index of a shard is damaged", path, str(error), "an .idx as written", REMAKE) from error


def name_of(shards: ShardSet, sample: int) -> str:
    """What its tar header calls it."""
    with open(shards.shard_path(sample), "rb") as file:
        name = os.pread(file.fileno(), 100, int(shards.table[sample]["offset"]) - BLOCK)
    return name.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def source_of(shards: ShardSet, sample: int, offset: int, size: int) -> str:
    path = shards.shard_path(sample)
    try:
        with open(path, "rb") as file:
            about = json.loads(os.pread(file.fileno(), size, offset))
        return str(about["source"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = f"{path}, sample {sample}"
        raise BadInput("a damaged sample", where, str(error), "JSON with the picture's source", REMAKE) from error


def small_jpeg(pixels: Pixels) -> bytes:
    """(C, H, W) of 8 or 16 bits -> a JPEG of at most SIDE pixels each way."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((SIDE, SIDE), reducing_gap=2)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
