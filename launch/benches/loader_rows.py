"""Our own loader in the benchmark beside others: run as a process of its own, asked as they are.

python -m launch.benches.loader_rows ROW FOLDER CROP WORKERS BATCH
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launch.benches.loader_peers import Job, job_of, serve
from pipeline.corruption import CorruptionConfig
from pipeline.inject import CleanCrops, Inject
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.order import Order
from pipeline.pairs import AnyPair, PairDataset, PairsConfig
from pipeline.reader import ShardSet


@dataclass(frozen=True)
class Row:
    store: str
    crops_per_image: int = 1
    shipped: bool = False
    """Crops of 8 bits as they leave the workers, noise being drawn elsewhere."""


ROWS = {
    "jpeg": Row("jpeg"),
    "jpeg-4": Row("jpeg", crops_per_image=4),
    "pixels": Row("pixels"),
    "pixels-uint8": Row("pixels", shipped=True),
}


class Shipped(PairDataset):
    """What arrives where the network is, before noise is drawn there."""

    def noisy(self, crops: CleanCrops) -> AnyPair:
        return crops  # type: ignore[return-value]  # which no network is given


def batches(row: Row, job: Job) -> Iterator[Any]:
    shards = ShardSet(job.folder / row.store)
    config = LoaderConfig(workers=job.workers, crops_per_image=row.crops_per_image)
    order = Order(0, shards.samples_per_shard, 0, config.crops)
    made = Shipped if row.shipped else PairDataset
    inject: Inject = "device" if row.shipped else "worker"
    dataset = made(shards, order, PairsConfig(crop=job.crop), CorruptionConfig(), 0, inject)
    return (batch for batch, _ in load_pairs(dataset, BatchShare(job.batch, 0, 1), config, start=0))


def main(name: str, job: Job) -> None:
    row = ROWS[name]
    spread = LoaderConfig().crops_spread * row.crops_per_image  # pictures are decoded in its first part, then kept
    whole = spread // job.batch if row.crops_per_image > 1 else 1
    serve(batches(row, job), job, *(("uint8", 1) if row.shipped else ("float32", 2)), whole)


if __name__ == "__main__":
    main(sys.argv[1], job_of(sys.argv[2:]))
