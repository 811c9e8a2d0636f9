"""The reader: whatever happens to a set's files is told, and nothing passes for a picture that is none."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.index import SAMPLE
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources
from pipeline.verify import verify
from tests.conftest import folder_bytes

FLIPS = 300  # of single bits, for each storage


@pytest.fixture(scope="module")
def sets(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A set in each storage, not to be changed."""
    folder = tmp_path_factory.mktemp("stores")
    for store in ("source", "pixels"):
        config = ShardConfig(plan=PlanConfig(shard_mb=0.015), storage=StorageConfig(store=store))
        shard(list_sources([pictures]), folder / store, config)
    return {store: folder / store for store in ("source", "pixels")}


def read_all(folder: Path) -> list[bytes]:
    opened = ShardSet(folder)
    return [opened.pixels(sample).tobytes() for sample in range(len(opened))]


def outcome(folder: Path, whole: list[bytes]) -> str:
    """What reading a damaged set comes to: refused, or the very pixels; anything else raises or is told here."""
    try:
        return "same" if read_all(folder) == whole else "OTHER PIXELS"
    except BadInput:
        return "refused"


def told(folder: Path) -> bool:
    try:
        return bool(verify(folder))
    except BadInput:
        return True


@pytest.mark.parametrize("store", ["source", "pixels"])
def test_every_flipped_bit_is_found_and_none_reaches_training(
    sets: dict[str, Path], tmp_path: Path, store: str
) -> None:
    """Single bits anywhere in any file: verify finds each, and reading gives the right pixels or a message."""
    folder = Path(shutil.copytree(sets[store], tmp_path / "set"))
    whole, files = read_all(folder), sorted(folder_bytes(folder).items())
    dice = random.Random(store)
    outcomes = []
    for number in range(FLIPS):
        name, data = files[number % len(files)]
        position = dice.randrange(len(data))
        damaged = bytearray(data)
        damaged[position] ^= 1 << dice.randrange(8)
        (folder / name).write_bytes(damaged)
        assert told(folder), f"{name} at {position}"
        outcomes.append(outcome(folder, whole))
        assert outcomes[-1] != "OTHER PIXELS", f"{name} at {position}"
        (folder / name).write_bytes(data)
    assert "refused" in outcomes
    assert told(folder) is False
    print(f"{store}: {len(outcomes)} flipped bits, all found; read to {dict(Counter(outcomes))}")


@pytest.mark.parametrize("store", ["source", "pixels"])
def test_a_shard_cut_anywhere_is_refused(sets: dict[str, Path], tmp_path: Path, store: str) -> None:
    """At every member's boundary, where other readers lose what follows without a word, and inside members."""
    folder = Path(shutil.copytree(sets[store], tmp_path / "set"))
    opened = ShardSet(folder)
    rows = opened.table[opened.table["shard"] == 0]
    path = folder / opened.index.shards[0].name
    data = path.read_bytes()
    starts = [int(row["offset"]) for row in rows]
    ends = [start + -(-int(row["size"]) // 512) * 512 for start, row in zip(starts, rows, strict=True)]
    cuts = {0, *(start - 512 for start in starts), *starts, *ends, *(start + 100 for start in starts), len(data) - 1}
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        assert told(folder), cut
        with pytest.raises(BadInput, match=path.name):
            ShardSet(folder)
    print(f"{store}: {len(cuts)} cuts, all found")
    path.write_bytes(data + b"\0")
    with pytest.raises(BadInput, match="wrong size"):
        ShardSet(folder)


@pytest.mark.parametrize("store", ["source", "pixels"])
def test_swapped_members_are_refused(sets: dict[str, Path], tmp_path: Path, store: str) -> None:
    """Every two samples of a shard, exchanged with their headers as far as the shorter one goes."""
    folder = Path(shutil.copytree(sets[store], tmp_path / "set"))
    opened = ShardSet(folder)
    rows = [row for row in opened.table if row["shard"] == 0]
    path = folder / opened.index.shards[0].name
    data = path.read_bytes()
    for first in range(len(rows)):
        for second in range(first):
            one, other = (int(rows[number]["offset"]) - 512 for number in (first, second))
            length = 512 + int(min(rows[first]["size"], rows[second]["size"]))
            swapped = bytearray(data)
            swapped[one : one + length], swapped[other : other + length] = (
                data[other : other + length],
                data[one : one + length],
            )
            path.write_bytes(swapped)
            assert told(folder)
            with pytest.raises(BadInput, match=r"a damaged sample[^$]*shard-000000\.tar, sample"):
                read_all(folder)
    print(f"{store}: {len(rows) * (len(rows) - 1) // 2} exchanges, all found")


def test_a_changed_table_is_refused(sets: dict[str, Path], tmp_path: Path) -> None:
    """Rows exchanged, dropped, repeated, of another set; a table that is none, or asks for a pickle."""
    folder = Path(shutil.copytree(sets["source"], tmp_path / "set"))
    table = np.load(folder / "samples.npy")
    for changed in (table[::-1], table[1:], np.concatenate([table, table]), np.zeros(len(table), SAMPLE), np.array({})):
        np.save(folder / "samples.npy", changed, allow_pickle=True)
        assert told(folder)
        with pytest.raises(BadInput, match="table is damaged"):
            ShardSet(folder)
    (folder / "samples.npy").unlink()
    with pytest.raises(BadInput, match="table is damaged"):
        ShardSet(folder)


def test_every_changed_line_of_the_index_is_refused(sets: dict[str, Path], tmp_path: Path) -> None:
    """Each line dropped, repeated, and with one digit or letter changed."""
    folder = Path(shutil.copytree(sets["source"], tmp_path / "set"))
    path = folder / "index.json"
    lines = path.read_text().splitlines()
    tried = 0
    for number, line in enumerate(lines):
        middle = next((i for i in range(len(line) // 2, len(line)) if line[i].isalnum()), None)
        changes = [[], [line, line]] if line.strip(" {}[],") else [[]]
        if middle is not None:
            changes.append([line[:middle] + ("0" if line[middle] != "0" else "1") + line[middle + 1 :]])
        for change in changes:
            path.write_text("\n".join([*lines[:number], *change, *lines[number + 1 :]]) + "\n")
            if json_of(path) == json_of(sets["source"] / "index.json"):
                continue  # the same line twice says the same
            tried += 1
            with pytest.raises(BadInput, match="index"):
                ShardSet(folder)
            assert told(folder)
    assert tried > len(lines)
    print(f"{tried} changed lines of the index, all found")


def json_of(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


@pytest.mark.parametrize("name", ["shard-000001.tar", "shard-000001.idx", "index.json"])
def test_a_missing_file_is_told(sets: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(sets["source"], tmp_path / "set"))
    (folder / name).unlink()
    assert told(folder)
    if not name.endswith(".idx"):  # which training does not use
        with pytest.raises(BadInput, match=name):
            ShardSet(folder)


@pytest.mark.parametrize("store", ["source", "pixels"])
def test_damage_after_opening_names_the_shard_and_the_sample(
    sets: dict[str, Path], tmp_path: Path, flip_bit: Callable[[Path, int], None], store: str
) -> None:
    folder = Path(shutil.copytree(sets[store], tmp_path / "set"))
    opened = ShardSet(folder)
    path = opened.shard_path(3)
    flip_bit(path, int(opened.table[3]["offset"]) + 5)
    with pytest.raises(BadInput, match=rf"{path.name}, sample 3 \(\d+\.\w+\)"):
        opened.pixels(3)
    path.unlink()
    with pytest.raises(BadInput, match=rf"is missing[^$]*{path.name}"):
        ShardSet(folder)


def test_a_shard_that_shrinks_before_it_is_mapped_is_told(sets: dict[str, Path], tmp_path: Path) -> None:
    """To touch a map beyond the end of its file would kill the process."""
    folder = Path(shutil.copytree(sets["pixels"], tmp_path / "set"))
    opened = ShardSet(folder)
    opened.shard_path(0).write_bytes(b"")
    with pytest.raises(BadInput, match="wrong size"):
        opened.pixels(0)


def test_pixels_outlive_their_set(sets: dict[str, Path]) -> None:
    opened = ShardSet(sets["pixels"])
    pixels = opened.pixels(0)
    opened.close()
    del opened
    assert pixels.tobytes() == read_all(sets["pixels"])[0]


@pytest.mark.parametrize("store", ["source", "pixels"])
def test_a_table_too_large_to_be_hashed_at_every_start_is_checked_row_by_row(
    sets: dict[str, Path], tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte of it in turn: reading gives the right pixels or a message, and no other exception."""
    monkeypatch.setattr("pipeline.index.HASHED_WHOLE", 0)
    folder = Path(shutil.copytree(sets[store], tmp_path / "set"))
    table = folder / "samples.npy"
    whole, clean = table.read_bytes(), read_all(folder)
    outcomes: Counter[str] = Counter()
    for position in range(0, len(whole)):
        for bit in (1, 64):
            damaged = bytearray(whole)
            damaged[position] ^= bit
            table.write_bytes(damaged)
            outcomes[outcome(folder, clean)] += 1
    assert outcomes.keys() == {"refused", "same"}
    assert outcomes["refused"] > len(whole) / 2, "of originals, their sizes are not needed to read them"
    table.write_bytes(whole[:-40])
    assert outcome(folder, clean) == "refused"
