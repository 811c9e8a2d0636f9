"""The pairs of a set, whatever it holds: noise drawn over photographs, or shots that bring their own."""

from pathlib import Path

from pipeline.corruption import CorruptionConfig
from pipeline.errors import BadInput
from pipeline.loader import LoaderConfig
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.reader import ShardSet
from pipeline.realisations import RealisationSet
from pipeline.shard_files import ShardFiles, shard_files
from pipeline.shot_pairs import ShotPairs


def open_pairs(
    of: Path | ShardFiles, pairs: PairsConfig, corruption: CorruptionConfig, seed: int, loader: LoaderConfig
) -> PairDataset | ShotPairs:
    """Raises BadInput where noise would be drawn over shots that have their own, or none over clean photographs."""
    files = shard_files(of)
    index = files.index
    if index.options.get("kind") == "renders":
        raise BadInput(
            "a set of renders", files.address, "data.kind pictures", "data.kind renders", "use configs/render.yaml"
        )
    real = bool(index.members_sha256)
    if real and corruption.name != "none":
        wanted = "none: the shots bring their own noise, and more of it would be another problem than theirs"
        raise BadInput("noise over real noise", "corruption.name", corruption.name, wanted, "corruption.name=none")
    if not real and corruption.name == "none":
        wanted = "a corruption, or a set of `n2n shard --pairs`"
        raise BadInput("nothing to learn from", files.address, "pictures without a second shot, and no noise", wanted)
    if real:
        shots = RealisationSet(files)
        return ShotPairs(shots, Order(seed, shots.samples_per_shard, loader.window, lanes=loader.lanes), pairs, seed)
    shards = ShardSet(files)
    order = Order(seed, shards.samples_per_shard, loader.window, loader.crops, loader.lanes)
    return PairDataset(shards, order, pairs, corruption, seed, loader.inject)
