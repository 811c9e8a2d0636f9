"""index.json and samples.npy: what is saved is read, and nothing else passes for it."""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.index import (
    Index,
    LeftOut,
    ShardEntry,
    crc32,
    file_sha256,
    idx_name,
    library_versions,
    load_index,
    load_samples,
    printable,
    shown,
)

INDEX = Index(
    shards=[ShardEntry("shard-000000.tar", 3, 10_240, "a" * 64, "b" * 64)],
    samples_sha256="c" * 64,
    options={"store": "source", "seed": 0},
    versions={"numpy": "2"},
    statistics={"pixels": 7},
    left_out=[LeftOut("new\nline \U0001f4f7.jpg", "unreadable", "why")],
)


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    INDEX.save(tmp_path)
    assert load_index(tmp_path) == INDEX
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_it_is_a_shard_list_of_wids(tmp_path: Path) -> None:
    INDEX.save(tmp_path)
    document = json.loads((tmp_path / "index.json").read_text())
    assert document["wids_version"] == 1
    entry = document["shardlist"][0]
    assert (entry["url"], entry["nsamples"], entry["filesize"]) == ("shard-000000.tar", 3, 10_240)
    assert (document["samples"], document["bytes"]) == (3, 10_240)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"n2n_version": 1}', "[" * 100_000, '{"n2n_version": {}}']
)
def test_what_is_no_index_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(BadInput, match="index"):
        load_index(tmp_path)


def test_a_change_that_keeps_it_well_formed_is_told(tmp_path: Path) -> None:
    INDEX.save(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(BadInput, match="its own checksum"):
        load_index(tmp_path)
    with pytest.raises(BadInput, match="no such folder"):
        load_index(tmp_path / "none")


def test_the_table_must_be_the_one_of_the_index(tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", np.arange(3))
    index = replace(INDEX, samples_sha256=file_sha256(tmp_path / "samples.npy"))
    assert load_samples(tmp_path, index).tolist() == [0, 1, 2]
    with pytest.raises(BadInput, match="sample table is damaged"):
        load_samples(tmp_path, INDEX)


def test_names_for_terminals_have_no_control_characters() -> None:
    assert shown(INDEX.left_out[0]) == "new\\nline \U0001f4f7.jpg: why"
    assert printable("a\x1b[31m\u202eb") == "a\\x1b[31m\\u202eb"


def test_small_things() -> None:
    assert crc32(b"ab") == crc32(b"b", crc32(b"a")) == zlib.crc32(b"ab")
    assert idx_name("shard-000000.tar") == "shard-000000.idx"
    assert library_versions("numpy", "no-such-library") == {"numpy": np.__version__, "no-such-library": "not installed"}
