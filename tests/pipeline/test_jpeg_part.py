"""A part of a JPEG that is decoded alone has the bits of the whole picture; where it cannot be, the whole is."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image

import pipeline.jpeg_part as jpeg_part
from pipeline.corruption import CorruptionConfig
from pipeline.dead_leaves import dead_leaves
from pipeline.errors import BadInput
from pipeline.geometry import view_at
from pipeline.jpeg_part import LEAST, PartDecoder, decode_around, exact, part_decoder, plain_shape
from pipeline.loader import BatchShare, LoaderConfig, load_pairs
from pipeline.order import Order
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.picture import decode
from pipeline.reader import ShardSet

PLACES = [*((u, v, 0.3, 0.7) for u in (0.0, 0.37, 0.999999) for v in (0.0, 0.61, 0.999999)), (0.2, 0.8, 0.9, 0.1)]
SCENE = Image.fromarray(dead_leaves(131, np.random.default_rng(0))[:, :117])
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (75, 98, 3), dtype=np.uint8))


@pytest.fixture
def installed() -> None:
    pytest.importorskip("nvidia.nvimgcodec")
    assert part_decoder(os.getpid()), "what is installed gives other bits"


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where the extra is missing: importing it raises ImportError."""
    monkeypatch.setitem(sys.modules, "nvidia", None)
    part_decoder.cache_clear()
    yield
    part_decoder.cache_clear()


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


KINDS: dict[str, dict[str, object]] = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "4:2:0, fine": {"subsampling": 2, "quality": 98},
    "progressive": {"progressive": True},
    "progressive 4:4:4": {"progressive": True, "subsampling": 0, "quality": 95},
    "optimised": {"optimize": True, "quality": 30},
    "restarts in rows": {"restart_marker_rows": 1},
    "restarts in blocks": {"restart_marker_blocks": 3},
    "RGB": {"keep_rgb": True},
    "profile": {"icc_profile": bytes(70_000)},
    "comment": {"comment": b"\xff\xd9 not the end"},
    "upright": {"exif": turned(1)},
}
SCENES = {"scene": SCENE, "noise": NOISE}
PLAIN = {f"{kind}, {name}": saved(image, **KINDS[kind]) for name, image in SCENES.items() for kind in KINDS}
PLAIN |= {f"{kind}, grey": saved(SCENE.convert("L"), **KINDS[kind]) for kind in ("optimised", "progressive", "upright")}
PLAIN |= {kind: imagecodecs.jpeg8_encode(np.asarray(SCENE), subsampling=kind) for kind in ("440", "411", "422", "420")}
UNSURE = {
    **{f"turned {number}": saved(SCENE, exif=turned(number)) for number in range(2, 9)},
    "four inks": saved(SCENE.convert("CMYK")),
    "png": saved(SCENE, "PNG"),
}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", PLAIN)
def test_a_part_has_the_bits_of_the_whole(name: str) -> None:
    data = PLAIN[name]
    whole = decode(data, "x").pixels
    assert plain_shape(data) == whole.shape
    for size in (1, 15, LEAST, 19, 33, 64, 75):
        for place in PLACES:
            part = decode_around(data, "x", size, place)
            assert part.shape == ((len(whole), size, size) if size >= LEAST else whole.shape)
            assert part.dtype == whole.dtype
            assert np.array_equal(view_at(part, size, True, place), view_at(whole, size, True, place))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", ["4:4:4", "4:2:2", "4:2:0", "progressive", "restarts in blocks"])
def test_a_part_is_exact_wherever_it_begins(kind: str) -> None:
    """At all offsets to the blocks of the file, also where chroma is smoothed across the part's border."""
    data = PLAIN[f"{kind}, noise"]
    whole, decoder = decode(data, "x").pixels, PartDecoder()
    for top, left in zip([*range(40), *range(40)], [*range(40), *range(39, -1, -1)], strict=True):
        part = decoder.square(data, 3, top, left, 17)
        assert np.array_equal(part, whole[:, top : top + 17, left : left + 17])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*UNSURE, *PLAIN])
def test_pictures_of_every_kind_look_the_same(name: str) -> None:
    """Those that are not plain, or smaller than the crop, are decoded whole."""
    data = (UNSURE | PLAIN)[name]
    whole = decode(data, "x").pixels
    for size in (16, 120, 200):
        for place in PLACES:
            assert np.array_equal(view_at(decode_around(data, "x", size, place), size, True, place),
                                  view_at(whole, size, True, place))  # fmt: skip
    assert (plain_shape(data) is None) == (name in UNSURE)


@pytest.mark.usefixtures("not_installed")
def test_without_the_library_pictures_are_decoded_whole() -> None:
    data = PLAIN["4:2:0, scene"]
    assert np.array_equal(decode_around(data, "x", 16, PLACES[4]), decode(data, "x").pixels)


@pytest.mark.parametrize("side", [1, 2, 7])
def test_tiny_pictures(side: int) -> None:
    data = saved(SCENE.crop((0, 0, side, side)))
    for size in {1, side}:
        for place in PLACES:
            whole = view_at(decode(data, "x").pixels, size, True, place)
            assert np.array_equal(view_at(decode_around(data, "x", size, place), size, True, place), whole)


def outcome(data: bytes, part: bool, place: tuple[float, ...] = PLACES[4]) -> np.ndarray | str:
    try:
        pixels = decode_around(data, "x", 16, place) if part else decode(data, "x").pixels
    except BadInput as error:
        return str(error)
    return view_at(pixels, 16, True, place)


@pytest.mark.parametrize("name", ["4:2:0, scene", "4:4:4, noise", "restarts in rows, scene", "optimised, grey"])
def test_a_damaged_file_ends_or_looks_as_before(name: str) -> None:
    """Cut anywhere, without its end, or with bytes that are none of its own: the same error, or the same pixels."""
    data, random = PLAIN[name], np.random.default_rng(0)
    scan = data.index(b"\xff\xda") + 14
    damaged = [data[:cut] for cut in range(0, len(data), 97)]
    damaged += [data[:cut] + b"\xff\xd9" for cut in range(2, len(data), 97)]
    for start in (2, scan):  # in headers, and in what they are of
        for position in random.integers(start, len(data) if start == scan else scan, 60):
            wrong = bytearray(data)
            wrong[position] = random.integers(0, 256)
            damaged.append(bytes(wrong))
    for position in range(scan, len(data) - 2, 211):  # a marker that does not belong there
        damaged.append(data[:position] + random.choice([b"\xff\xd8", b"\xff\xc8", b"\xff\xc4"]) + data[position + 2 :])
    ends = 0
    for file in damaged:
        place = tuple(random.random(4))
        before, now = outcome(file, False, place), outcome(file, True, place)
        ends += isinstance(now, str)
        assert type(before) is type(now)
        assert np.array_equal(before, now)
    assert 0 < ends < len(damaged)


@pytest.mark.usefixtures("installed")
def test_a_library_that_rounds_otherwise_is_not_used() -> None:
    other = PartDecoder()
    assert exact(other)
    other.decoder = other.library.Decoder(
        other.library.NVIMGCODEC_DEVICE_CPU_ONLY,
        1,
        [other.library.Backend(other.library.BackendKind.CPU_ONLY)],
        ":fancy_upsampling=0",
    )
    assert not exact(other)


@pytest.mark.usefixtures("installed")
def test_a_forked_process_has_a_decoder_of_its_own() -> None:
    data = PLAIN["4:2:0, scene"]
    here = decode_around(data, "x", 16, PLACES[4])
    with get_context("fork").Pool(2) as pool:
        for there in pool.starmap(decode_around, [(data, "x", 16, PLACES[4])] * 8):
            assert np.array_equal(here, there)


@pytest.mark.usefixtures("installed")
def test_nothing_is_said_of_what_nobody_asked_for() -> None:
    code = "import sys; from pipeline.jpeg_part import part_decoder; part_decoder(0); print('!', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stderr == "!\n"
    assert done.stdout == ""


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("inject", ["worker", "device"])
@pytest.mark.parametrize("crop", [16, 60])
def test_pairs_do_not_depend_on_the_library(
    shards: Path, inject: str, crop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ShardSet(shards)
    order = Order(0, opened.samples_per_shard)
    made = PairDataset(opened, order, PairsConfig(crop=crop), CorruptionConfig(), 0, inject)  # type: ignore[arg-type]
    parts = made.batch(range(48))
    batches = load_pairs(made, BatchShare(16, 0, 1), LoaderConfig(workers=2), start=0)
    in_workers = [[part.clone() for part in next(batches)[0]] for _ in range(3)]
    batches.close()
    monkeypatch.setattr(jpeg_part, "part_decoder", lambda process: None)
    for here, there, whole in zip(parts, zip(*in_workers, strict=True), made.batch(range(48)), strict=True):
        assert torch.equal(here, whole)
        assert torch.equal(torch.cat(there), whole)


def test_several_pictures_in_one_file_are_refused_as_before() -> None:
    data = saved(SCENE, "MPO", save_all=True, append_images=[SCENE])
    with pytest.raises(BadInput, match="2 frames"):
        decode_around(data, "x", 16, PLACES[0])
