"""One file denoised: every kind comes out as it went in, in one piece, whatever its size."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from launch.denoiser import Denoiser, Inference
from launch.denoising.stills import denoise_file
from model.unet import UNet
from pipeline.errors import BadInput
from pipeline.stills.kinds import open_stills

RNG = np.random.default_rng(0)
EIGHT = RNG.integers(0, 256, (45, 37, 4), dtype=np.uint8)
SIXTEEN = RNG.integers(0, 65536, (45, 37, 3), dtype=np.uint16)
FLOAT = RNG.random((45, 37, 3), dtype=np.float32)
ICC = b"a colour profile, as far as this test goes" + bytes(100)


def denoiser(**options: Any) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(UNet(), torch.device("cpu"), inference=Inference(**options))


def tiff(path: Path, samples: np.ndarray, **options: Any) -> None:
    tifffile.imwrite(path, samples, metadata=None, **options)


KINDS: dict[str, Any] = {
    "plain.tif": lambda path: tiff(path, SIXTEEN, photometric="rgb"),
    "packed.tif": lambda path: tiff(path, SIXTEEN, photometric="rgb", compression="zlib", predictor=True),
    "eight.tif": lambda path: tiff(path, EIGHT[..., :3], photometric="rgb", iccprofile=ICC, resolution=(72, 72)),
    "alpha.tif": lambda path: tiff(path, EIGHT, photometric="rgb", extrasamples=["unassalpha"]),
    "greyalpha.tif": lambda path: tiff(path, SIXTEEN[..., :2], photometric="minisblack", extrasamples=["unassalpha"]),
    "float.tif": lambda path: tiff(path, FLOAT, photometric="rgb", description="a scan", software="a scanner"),
    "half.tif": lambda path: tiff(path, FLOAT.astype(np.float16)[..., 0], photometric="minisblack"),
    "stack.tif": lambda path: tiff(path, SIXTEEN.transpose(2, 0, 1), photometric="minisblack"),
    "colours.tif": lambda path: tiff(path, np.stack([FLOAT, FLOAT[::-1]]), photometric="rgb"),
    "planar.tif": lambda path: tiff(path, FLOAT.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "grey.npy": lambda path: np.save(path, FLOAT[..., 0]),
    "chw.npy": lambda path: np.save(path, SIXTEEN.transpose(2, 0, 1)),
    "hwc.npy": lambda path: np.save(path, EIGHT),
    "stack.npy": lambda path: np.save(path, RNG.random((5, 45, 37))),
    "colours.npy": lambda path: np.save(path, RNG.random((5, 3, 45, 37), dtype=np.float32)),
}


@pytest.mark.parametrize("name", KINDS)
def test_layout_type_and_the_rest_are_kept(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / name, tmp_path / "out" / name
    KINDS[name](source)
    denoise_file(denoiser(), source, target)
    before, after = open_stills(source), open_stills(target)
    assert (after.samples.shape, after.samples.dtype) == (before.samples.shape, before.samples.dtype)
    assert after.about == before.about
    alphas = [stills.view(stills.samples)[1] for stills in (before, after)]
    assert alphas[0] is None or np.array_equal(*alphas)
    assert not np.array_equal(before.pixels, after.pixels)
    assert not list(tmp_path.rglob("*.partial"))
    # Each picture of the file is what the denoiser makes of it alone.
    for noisy, denoised in zip(before.pixels, after.pixels, strict=True):
        peak = np.iinfo(noisy.dtype).max if noisy.dtype.kind == "u" else 1
        unit = torch.from_numpy(noisy.astype(np.float32) / np.float32(peak)).expand(3, -1, -1)
        expected = denoiser()(unit).numpy()
        expected = expected.mean(0, keepdims=True) if len(noisy) == 1 else expected
        if noisy.dtype.kind == "u":
            expected = np.clip(np.floor(expected * peak + 0.5), 0, peak)
        tolerance = 1 if noisy.dtype.kind == "u" else 1e-3
        assert np.allclose(denoised.astype(float), expected, atol=tolerance)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_and_profile_are_kept(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a maker", 6  # turned by 90 degrees
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(EIGHT[..., :3]).save(path, exif=exif, icc_profile=ICC)
    denoise_file(denoiser(), path, tmp_path / "out" / path.name)
    with Image.open(tmp_path / "out" / path.name) as image:
        assert image.getexif()[0x010F] == "a maker"
        assert 0x0112 not in image.getexif(), "the picture is upright now"
        assert image.size == (45, 37)
        assert image.info["icc_profile"] == ICC


def test_exif_of_16_bits(tmp_path: Path) -> None:
    from pipeline.picture import Picture, encode

    exif = Image.Exif()
    exif[0x010F] = "a maker"
    path = tmp_path / "deep.png"
    path.write_bytes(encode(Picture(SIXTEEN.transpose(2, 0, 1), None, ICC), ".png", exif.tobytes()))
    denoise_file(denoiser(), path, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.getexif()[0x010F] == "a maker"
        assert image.info["icc_profile"] == ICC
    assert open_stills(tmp_path / "out.png").samples.dtype == np.uint16


@pytest.mark.parametrize("name", ["plain.tif", "chw.npy"])
def test_tiles_do_not_show(name: str, tmp_path: Path) -> None:
    samples = RNG.random((3, 300, 410), dtype=np.float32)
    source = tmp_path / name
    if name.endswith("npy"):
        np.save(source, samples)
    else:
        tiff(source, samples.transpose(1, 2, 0), photometric="rgb")
    denoise_file(denoiser(), source, tmp_path / "whole" / name)
    denoise_file(denoiser(tile=96, batch=3), source, tmp_path / "tiled" / name)
    whole, tiled = (open_stills(tmp_path / folder / name) for folder in ("whole", "tiled"))
    assert tiled.mapped
    assert np.abs(whole.pixels - tiled.pixels).max() < 1e-5


def test_samples_that_are_no_numbers_are_filled(tmp_path: Path) -> None:
    samples = FLOAT.copy()
    samples[10:12, 20] = np.nan
    samples[3, 3, 1] = np.inf
    tiff(tmp_path / "bad.tif", samples, photometric="rgb")
    done = denoise_file(denoiser(), tmp_path / "bad.tif", tmp_path / "out.tif")
    assert done.filled == 7
    assert np.isfinite(open_stills(tmp_path / "out.tif").pixels).all()
    assert done.noisy[1, 3, 3] in (samples[2, 3, 1], samples[4, 3, 1], samples[3, 2, 1], samples[3, 4, 1])
    np.save(tmp_path / "none.npy", np.full((8, 8), np.nan))
    with pytest.raises(BadInput, match="without a number"):
        denoise_file(denoiser(), tmp_path / "none.npy", tmp_path / "none" / "out.npy")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("looking", [True, False])
def test_the_time_left_is_shown_where_somebody_looks(
    looking: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return looking

    np.save(tmp_path / "big.npy", np.zeros((70, 200), np.float32))
    monkeypatch.setattr(sys, "stderr", stream := Stream())
    denoise_file(denoiser(tile=32), tmp_path / "big.npy", tmp_path / "out.npy", show=True)
    assert ("big.npy: 100%" in stream.getvalue() and "21/21" in stream.getvalue()) == looking


def test_another_white(tmp_path: Path) -> None:
    """Twelve bits in sixteen are the same picture at a white of 4095."""
    np.save(tmp_path / "twelve.npy", SIXTEEN[..., 0] // 16)
    np.save(tmp_path / "float.npy", (SIXTEEN[..., 0] // 16).astype(np.float32) / 4095)
    denoise_file(denoiser(), tmp_path / "twelve.npy", tmp_path / "a.npy", white=4095)
    denoise_file(denoiser(), tmp_path / "float.npy", tmp_path / "b.npy")
    a, b = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    assert np.abs(a - (b * 4095).clip(0, 65535)).max() <= 1


def cut(path: Path, write: Any) -> None:
    """Half of a good file."""
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD: dict[str, tuple[Any, str]] = {
    "empty.png": (lambda path: path.write_bytes(b""), "an empty file"),
    "text.jpg": (lambda path: path.write_text("no picture"), "not a readable picture"),
    "cut.npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "not a readable picture"),
    "cut.tif": (lambda path: path.write_bytes(b"II*\0" + bytes(9)), "not a readable picture"),
    "half.npy": (lambda path: cut(path, KINDS["chw.npy"]), "not a readable picture"),
    "half-plain.tif": (lambda path: cut(path, KINDS["plain.tif"]), "not a readable picture"),
    "half-packed.tif": (lambda path: cut(path, KINDS["packed.tif"]), "not a readable picture"),
    "half-stack.tif": (lambda path: cut(path, KINDS["stack.tif"]), "lost pages"),
    "half.png": (lambda path: cut(path, lambda path: Image.fromarray(EIGHT).save(path)), "not a readable picture"),
    "half.webp": (lambda path: cut(path, lambda path: Image.fromarray(EIGHT).save(path)), "not a readable picture"),
    "many.npy": (lambda path: np.save(path, np.zeros((2, 100, 8, 8), np.float32)), "100 channels|8 channels"),
    "many.tif": (lambda path: tiff(path, np.zeros((8, 8, 100), np.uint8), planarconfig="contig"), "100 channels"),
    "complex.npy": (lambda path: np.save(path, np.zeros((8, 8), complex)), "complex128"),
    "objects.npy": (lambda path: np.save(path, np.array([[{}]]), allow_pickle=True), "object|not a readable"),
    "line.npy": (lambda path: np.save(path, np.zeros(8)), "no picture"),
    "nothing.npy": (lambda path: np.save(path, np.zeros((0, 8))), "an empty picture"),
    "float.png": (lambda path: tiff(path, FLOAT, photometric="rgb"), "another name"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told_and_leave_nothing(name: str, tmp_path: Path) -> None:
    make, told = BAD[name]
    make(tmp_path / name)
    with pytest.raises(BadInput, match=told):
        denoise_file(denoiser(), tmp_path / name, tmp_path / "out" / name)
    assert not list(tmp_path.rglob("out/*"))


def test_a_jpeg_that_is_called_png_becomes_a_png(tmp_path: Path) -> None:
    Image.fromarray(EIGHT[..., :3]).save(tmp_path / "wrong.png", format="JPEG")
    denoise_file(denoiser(), tmp_path / "wrong.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert (image.format, image.size) == ("PNG", (37, 45))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_a_pixel_a_row_and_a_column(shape: tuple[int, int], tmp_path: Path) -> None:
    np.save(tmp_path / "small.npy", np.full(shape, 0.5, np.float32))
    denoise_file(denoiser(self_ensemble=True), tmp_path / "small.npy", tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").shape == shape


PACKED: dict[str, dict[str, Any]] = {
    "strips.tif": {"photometric": "rgb", "compression": "zlib", "predictor": True, "rowsperstrip": 16},
    "tiles.tif": {"photometric": "rgb", "compression": "lzw", "tile": (32, 48)},
    "planes.tif": {"photometric": "rgb", "compression": "zlib", "planarconfig": "separate", "tile": (16, 16)},
    "big-endian.tif": {"photometric": "rgb", "compression": "zlib", "byteorder": ">"},
    "stack.tif": {"photometric": "minisblack", "compression": "zlib"},
    "stack-plain.tif": {"photometric": "minisblack"},
}


@pytest.mark.parametrize("name", PACKED)
def test_unpacked_to_the_disk_is_as_in_memory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.stills import tiff_stills

    samples = SIXTEEN if PACKED[name]["photometric"] == "rgb" and "planes" not in name else SIXTEEN.transpose(2, 0, 1)
    tiff(tmp_path / name, samples, **PACKED[name])
    denoise_file(denoiser(), tmp_path / name, tmp_path / "memory.tif")
    monkeypatch.setattr(tiff_stills, "UNPACK", 100)
    before = open_stills(tmp_path / name)
    assert before.unpacked
    assert np.array_equal(before.samples, samples)
    denoise_file(denoiser(), tmp_path / name, tmp_path / "disk.tif")
    assert (tmp_path / "disk.tif").read_bytes() == (tmp_path / "memory.tif").read_bytes()


def test_no_room_to_unpack_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.stills import tiff_stills

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    tiff(tmp_path / "a.tif", SIXTEEN, photometric="rgb", compression="zlib")
    monkeypatch.setattr(tiff_stills, "UNPACK", 100)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(BadInput, match="No space left"):
        denoise_file(denoiser(), tmp_path / "a.tif", tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


MEMORY = """
import resource, sys, threading, torch
from pathlib import Path
from launch.denoising.stills import denoise_file
from launch.denoiser import Denoiser, Inference
from model.network import NetworkConfig, Reach
from pipeline.stills import tiff_stills
class Light(torch.nn.Module):  # the network's memory is that of a tile; what is measured is the picture's
    config, reach = NetworkConfig(), Reach(32, 160)
    def forward(self, x): return x * 0.5
net = Denoiser(Light(), torch.device("cpu"), inference=Inference(tile=512))
def own():  # without the pages of mapped files, which the system takes back when it needs them
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
def watch():
    global most
    while not over.wait(0.01):
        most = max(most, own())
tiff_stills.UNPACK = 1 << 26
if sys.argv[3:]:
    tiff_stills.UNPACK = 1 << 40
before, most, over = own(), 0, threading.Event()
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
watcher = threading.Thread(target=watch)
watcher.start()
denoise_file(net, Path(sys.argv[1]), Path(sys.argv[2]))
over.set()
watcher.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss, most - before)
"""


@pytest.mark.parametrize("name", ["packed.tif", pytest.param("tiled.tif", marks=pytest.mark.faults)])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_packed_file_is_never_in_memory(name: str, tmp_path: Path, child_environment: Any) -> None:
    """200 MB in and 200 MB out within 200 MB of memory; decoded whole, it does not fit."""
    samples = np.full((5000, 13_500, 3), 100, np.uint8)
    layout: dict[str, Any] = {"tile": (256, 256)} if name == "tiled.tif" else {"rowsperstrip": 64}
    tiff(tmp_path / name, samples, photometric="rgb", compression="zlib", compressionargs={"level": 1}, **layout)
    del samples
    command = [sys.executable, "-c", MEMORY, str(tmp_path / name), str(tmp_path / "out.tif")]
    done = subprocess.run(command, env=child_environment, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1]) * 1024 < 200e6
    assert (open_stills(tmp_path / "out.tif").samples[::500, ::500] == 50).all()
    done = subprocess.run([*command, "whole"], env=child_environment, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[1]) * 1024 > 300e6, "the twin"


@pytest.mark.parametrize("name", ["big.tif", pytest.param("big.npy", marks=pytest.mark.faults)])
def test_a_large_file_is_never_in_memory(name: str, tmp_path: Path, child_environment: Any) -> None:
    """300 MB in and 300 MB out within 150 MB."""
    shape = (3, 5000, 20_000) if name.endswith("npy") else (5000, 20_000, 3)
    if name.endswith("npy"):
        made = np.lib.format.open_memmap(tmp_path / name, "w+", np.uint8, shape)
    else:
        made = tifffile.memmap(tmp_path / name, shape=shape, dtype=np.uint8, photometric="rgb")
    made[:] = 100
    made.flush()
    command = [sys.executable, "-c", MEMORY, str(tmp_path / name), str(tmp_path / f"out-{name}")]
    done = subprocess.run(command, env=child_environment, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout.split()[0]) * unit < 150e6
    assert (open_stills(tmp_path / f"out-{name}").samples[::500, ::500] == 50).all()
