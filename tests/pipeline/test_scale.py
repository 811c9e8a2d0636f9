"""Sets of millions of samples: a generated index over one real tar under many names."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.crops import Crops
from pipeline.index import HASHED_WHOLE, SAMPLE, ShardEntry, file_sha256, load_index
from pipeline.loader import BatchShare
from pipeline.order import Order
from tests.conftest import ROOT, environment

IMAGENET = 1_281_167
PER_SHARD = 2000
STEPS = 6

# In a process of its own, so that what else the tests have loaded is not there to be copied.
MEASURE = """
import json, multiprocessing, sys
from pathlib import Path
from pipeline.corruption import CorruptionConfig
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.pairs import PairsConfig

config = LoaderConfig(workers=2, lanes=int(sys.argv[3]))
pairs = open_pairs(Path(sys.argv[1]), PairsConfig(crop=16), CorruptionConfig(), 0, config)
start = len(pairs.shards) // 2 // 64 * 64
batches = load_pairs(pairs, BatchShare(64, 0, 1), config, start=start)
for _ in range(int(sys.argv[2])):
    next(batches)
dirty = []
for process in multiprocessing.active_children():
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    dirty.append(sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")))
print(json.dumps(dirty))
batches.close()
"""


def grown(shards: Path, folder: Path, samples: int) -> Path:
    """A set of so many samples, which are the pictures of one tar again and again."""
    index = load_index(shards)
    table = np.load(shards / "samples.npy")
    first = table[table["shard"] == 0]
    count = -(-samples // PER_SHARD)
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06d}.tar").symlink_to(shards / index.shards[0].name)
    rows = np.lib.format.open_memmap(folder / "samples.npy", "w+", SAMPLE, (samples,))
    for number in range(count):
        here = rows[number * PER_SHARD : (number + 1) * PER_SHARD]
        here[:] = np.resize(first, len(here))
        here["shard"] = number
    rows.flush()
    sizes = [min(PER_SHARD, samples - number * PER_SHARD) for number in range(count)]
    entries = [ShardEntry(f"{n:06d}.tar", size, index.shards[0].bytes, "", "") for n, size in enumerate(sizes)]
    hashed = (folder / "samples.npy").stat().st_size <= HASHED_WHOLE
    sha256 = file_sha256(folder / "samples.npy") if hashed else ""
    type(index)(entries, sha256, index.options, index.versions, index.statistics, []).save(folder)
    return folder


def private_kb(folder: Path, steps: int = STEPS, lanes: int = 1) -> int:
    words = [sys.executable, "-c", MEASURE, str(folder), str(steps), str(lanes)]
    done = subprocess.run(words, env=environment(), cwd=ROOT, capture_output=True, text=True, check=True)
    workers: list[int] = json.loads(done.stdout)
    assert len(workers) == 2
    return max(workers)


@pytest.mark.parametrize("samples", [IMAGENET, pytest.param(10_000_000, marks=pytest.mark.faults)])
def test_a_worker_takes_no_more_memory_for_a_larger_set(shards: Path, tmp_path: Path, samples: int) -> None:
    """Its table is mapped; of its own a worker has a bit a sample and a few numbers a shard."""
    small = private_kb(grown(shards, tmp_path / "small", 4_000))
    folder = grown(shards, tmp_path / str(samples), samples)
    table_kb = (folder / "samples.npy").stat().st_size // 1024
    more = private_kb(folder) - small
    assert more < 4096 + samples / 1024, f"{more} kB more than of 4,000 samples"
    assert more < table_kb / 10
    assert private_kb(folder, lanes=64) - small - more < 4096, "lanes take no more"


@pytest.mark.parametrize("window", [0, 50])
@pytest.mark.parametrize("crops", [1, 4])
@pytest.mark.parametrize("lanes", [1, 64])
def test_global_batches_are_those_of_any_number_of_ranks(window: int, crops: int, lanes: int) -> None:
    """1 to 64 ranks, across the end of an epoch of ImageNet's size."""
    counts = np.full(IMAGENET // PER_SHARD, PER_SHARD)
    several, total = Crops(crops, 256), int(counts.sum())
    dealt = lanes if lanes > 1 else several.lanes(128)
    for start in (0, 7 * crops * total - 192, 3_000_000_000):
        whole = Order(5, counts, window, several, lanes).samples(range(start, start + 128))
        for world in (1, 2, 4, 8, 16, 32, 64):
            found = np.empty_like(whole)
            order = Order(5, counts, window, several, lanes)
            for rank in range(world):
                draws = np.array(BatchShare(128, rank, world, dealt).draws(start))
                assert len(draws) == 128 // world
                found[draws - start] = order.samples(draws)
            assert np.array_equal(found, whole)


@pytest.mark.parametrize("lanes", [1, 64])
def test_a_jump_into_the_middle_of_an_epoch_of_imagenet_takes_milliseconds(lanes: int) -> None:
    counts = np.full(IMAGENET // PER_SHARD, PER_SHARD)
    took = []
    for attempt in range(5):
        began = time.process_time()
        Order(attempt, counts, lanes=lanes).samples(range(10_000_000, 10_000_256))
        took.append(time.process_time() - began)
    assert min(took) < 0.02, "3 ms on an idle core"
