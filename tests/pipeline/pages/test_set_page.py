"""The page of a set: one well-formed file that asks for nothing, says everything and trusts no name."""

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import inspect
from pipeline.errors import BadInput
from pipeline.index import SAMPLES, load_index, map_table, printable
from pipeline.pages.markup import POLICY
from pipeline.pages.set_page import save_page
from pipeline.reader import ShardSet
from pipeline.shard import ShardConfig, shard
from pipeline.sharding.statistics import Levels, counted_levels
from pipeline.sharding.storage import StorageConfig
from pipeline.sources.listing import list_sources

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a&b'c",
    "new\nline\x01",
    "\u202egpj.exe",
    "é🙂",
]
WORSE = "<svg onload=alert(2)>.jpg"


def page_of(folder: Path, out: Path, samples: int = 60) -> tuple[str, ET.Element]:
    save_page(folder, out, samples)
    markup = out.read_text("utf-8")
    return markup, ET.fromstring(markup.partition("\n")[2])


def words(root: ET.Element) -> str:
    return "\n".join(root.itertext())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set whose sources have such names, kept and left out."""
    folder, out = tmp_path_factory.mktemp("names"), tmp_path_factory.mktemp("sets") / "<b>set&"
    for number, name in enumerate(HOSTILE):
        path = folder / f"{name.replace('/', '_')}.png"
        pixels = np.random.default_rng(number).integers(0, 65536 if number == 2 else 256, (40, 30 + number))
        Image.fromarray(pixels.astype(np.uint16 if number == 2 else np.uint8)).save(path)
    (folder / WORSE).write_bytes(b"no picture")
    for number in range(120):
        (folder / f"bad{number}.jpg").write_bytes(b"no picture")
    shard(list_sources([folder]), out, ShardConfig(max_bad=1, keep_duplicates=True))
    return out


def test_the_page_says_all_of_the_set(shards: Path, tmp_path: Path) -> None:
    _, root = page_of(shards, tmp_path / "page.html")
    said, index = words(root), load_index(shards)
    assert len(root.findall(".//img")) == index.samples
    for entry in index.shards:
        assert entry.name in said
        assert entry.sha256 in said
    for fact in (*index.versions.values(), index.options["plan_sha256"], f"{index.statistics['mean_rgb'][0]:.4f}"):
        assert str(fact) in said
    for name in ("class0/picture0.png", "class1/picture7.jpg", "92 x 92"):
        assert name in said
    titles = {figure.get("aria-label") for figure in root.iter("svg")}
    assert titles == {"Width", "Height", "Bytes of a picture", "Levels"}
    assert {path.get("class") for path in root.iter("path")} == {"red", "green", "blue", "luminance"}


def test_the_page_asks_for_nothing(hostile: Path, tmp_path: Path) -> None:
    markup, root = page_of(hostile, tmp_path / "page.html")
    allowed = {"html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p", "code", "div", "b"}
    allowed |= {"span", "table", "tr", "th", "td", "figure", "figcaption", "svg", "rect", "path", "img", "br"}
    assert {element.tag for element in root.iter()} <= allowed
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name not in ("href", "srcset", "style", "action")
            assert name != "src" or re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", value)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r'src="data:[^"]*"', "", markup))
    assert POLICY in markup


def test_hostile_names_are_text(hostile: Path, tmp_path: Path) -> None:
    markup, root = page_of(hostile, tmp_path / "page.html")
    said = words(root)
    for name in (*HOSTILE, WORSE):
        assert printable(name.replace("/", "_")) in said
    for harm in ("<script", "<svg onload", "<img src=x", "<b>set", "\u202e", "\x01"):
        assert harm not in markup
    assert root.findtext(".//h1") == "<b>set&"


def test_every_left_out_file_is_there(hostile: Path, tmp_path: Path) -> None:
    _, root = page_of(hostile, tmp_path / "page.html")
    listed = {(row[0].text, row[1].text) for row in root.iter("tr") if len(row) == 3 and row[0].get("class") == "text"}
    assert listed == {(printable(entry.source), entry.kind) for entry in load_index(hostile).left_out}
    assert len(listed) == 121


def test_the_first_samples_alone(shards: Path, tmp_path: Path) -> None:
    assert len(page_of(shards, tmp_path / "three.html", 3)[1].findall(".//img")) == 3
    markup, root = page_of(shards, tmp_path / "none.html", 0)
    assert not root.findall(".//img")
    assert "Levels" in {figure.get("aria-label") for figure in root.iter("svg")}  # of the whole set
    assert "The first" not in markup


def test_the_levels_are_those_of_the_whole_set(shards: Path, tmp_path: Path) -> None:
    """Whatever number of samples is shown; and a set of an earlier version has a page without them."""
    curves = [
        [path.get("d") for path in page_of(shards, tmp_path / "page.html", samples)[1].iter("path")]
        for samples in (0, 12)
    ]
    assert curves[0] == curves[1]
    opened, levels = ShardSet(shards), Levels()
    for sample in range(len(opened)):
        levels.add(opened.pixels(sample))
    counted = counted_levels(opened.index.statistics)
    assert list(counted) == ["red", "green", "blue", "luminance"]
    assert all((counts == expected).all() for counts, expected in zip(counted.values(), levels.counts, strict=True))
    earlier = replace(opened.index, statistics={**opened.index.statistics, "level_counts": {}})
    own = Path(shutil.copytree(shards, tmp_path / "own"))
    earlier.save(own)
    assert "Levels" not in {figure.get("aria-label") for figure in page_of(own, tmp_path / "old.html")[1].iter("svg")}


def test_pixels_cut_and_grey_have_pages_too(pictures: Path, tmp_path: Path) -> None:
    storage = StorageConfig(store="pixels", tile=32, grey=True)
    shard(list_sources([pictures]), tmp_path / "set", ShardConfig(storage=storage))
    _, root = page_of(tmp_path / "set", tmp_path / "page.html", 5)
    assert len(root.findall(".//img")) == 5
    assert re.search(r"\d{9}_0000", words(root))


def test_no_page_of_a_damaged_set(own_shards: Path, tmp_path: Path, flip_bit: Callable[[Path, int], None]) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(own_shards, whole)
    flip_bit(own_shards / "shard-000000.tar", int(map_table(own_shards / SAMPLES)[0]["offset"]) + 50)
    with pytest.raises(BadInput, match="damaged sample"):
        save_page(own_shards, tmp_path / "page.html", 60)
    (whole / "shard-000000.idx").write_text("v1.2 1\nnothing\n")
    with pytest.raises(BadInput, match="index of a shard is damaged"):
        save_page(whole, tmp_path / "page.html", 60)
    with pytest.raises(BadInput, match="--samples"):
        save_page(whole, tmp_path / "page.html", -1)
    assert not list(tmp_path.glob("page*"))


def test_inspect_writes_it(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect.main([str(shards), "--html", str(tmp_path / "new" / "page.html"), "--samples", "2"])
    assert os.listdir(tmp_path / "new") == ["page.html"]
    assert "page.html" in capsys.readouterr().out
