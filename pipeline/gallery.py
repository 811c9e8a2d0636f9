"""Clean pictures by name, from a folder or a shard set: what denoisers are looked at and measured on."""

from pathlib import Path

import torch
from torch import Tensor

from pipeline.corruption import CorruptionConfig, corrupt
from pipeline.corruptions.registry import View
from pipeline.errors import BadInput
from pipeline.index import INDEX
from pipeline.picture import decode, to_unit
from pipeline.randomness import name_generator
from pipeline.reader import ShardSet
from pipeline.shard_files import ShardFiles
from pipeline.sources.listing import list_pictures

TEST_NOISE_SEED = 0  # the test noise of a picture is a constant of this project, not of a run


class Gallery:
    """The first `limit` pictures (0: all) of a folder, sorted by name, or of a shard set, in its shuffled order.

    Their names are known from the start, before any is decoded. Raises BadInput where there is no picture.
    """

    def __init__(self, of: Path | ShardFiles, limit: int = 0) -> None:
        self.path = of.folder if isinstance(of, ShardFiles) else of
        self._shards = ShardSet(of) if isinstance(of, ShardFiles) or (of / INDEX).exists() else None
        if self._shards:
            names = [f"{sample:09d}" for sample in range(len(self._shards))]
        else:
            names = [file.name for file in list_pictures([self.path])]
        self.names = names[: limit or None]

    def clean(self, name: str) -> Tensor:
        """A picture as (3, H, W) float32 in [0, 1]; greyscale is repeated."""
        if self._shards:
            return torch.from_numpy(to_unit(self._shards.pixels(int(name))))
        path = self.path if self.path.is_file() else self.path / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadInput("a picture cannot be read", path, error.strerror or str(error)) from error
        return torch.from_numpy(to_unit(decode(data, path).pixels))

    def noisy(self, name: str, clean: Tensor, corruption: CorruptionConfig) -> View:
        """The picture under test noise, keyed by its name: equal in every run, machine and number of ranks."""
        return corrupt(clean, corruption, name_generator(TEST_NOISE_SEED, name))
