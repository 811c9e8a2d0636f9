"""Loaders of other libraries, for the benchmark: run by the Python that has them, which need not have ours.

    PYTHON -P launch/benches/loader_peers.py prepare|serve ROW FOLDER CROP WORKERS BATCH

FOLDER has `pictures/*.jpg`, and the same in `jpeg/shard-*.tar`. `prepare` writes what the row reads. `serve` answers
every line with what it delivered within so many seconds. All rows make the same kind of pair: a crop at a random place,
mirrored at random, and two views of it with Gaussian noise of a strength of its own, uniform in [0, 50 / 255]: float32,
(N, 3, H, W). Each does so as its users would. Two mirror less: FFCV left to right alone, the baseline not at all.
"""

import io
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

SIGMA = 50 / 255
ENDLESS = 1 << 24  # samples of an epoch, so that none ends while it is measured
REPEATED = 10  # times that a set without endless epochs holds every picture


@dataclass(frozen=True)
class Job:
    folder: Path
    crop: int
    workers: int
    batch: int

    def pictures(self) -> list[Path]:
        return sorted((self.folder / "pictures").iterdir())


def pair(picture: Image.Image, crop: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both views, with the noise of torch: a third of numpy's cost."""
    pixels = np.asarray(picture.convert("RGB"))
    top, left = random.randint(0, pixels.shape[0] - crop), random.randint(0, pixels.shape[1] - crop)
    view = pixels[top : top + crop, left : left + crop].transpose(2, 0, 1)
    view = view[:, :: random.choice((1, -1)), :: random.choice((1, -1))]
    clean = torch.from_numpy(view.astype(np.float32) / 255)
    source, target = (torch.randn(clean.shape).mul_(SIGMA * random.random()).add_(clean) for _ in range(2))
    return source, target


def pair_of(data: bytes, crop: int) -> tuple[torch.Tensor, torch.Tensor]:
    return pair(Image.open(io.BytesIO(data)), crop)


class Baseline(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Files, Pillow, numpy, one process: noise in double precision, clipped and cut to 8 bits, as was first done."""

    def __init__(self, job: Job) -> None:
        self.paths, self.crop = job.pictures(), job.crop

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture = Image.open(self.paths[position % len(self.paths)]).convert("RGB")
        left, top = random.randint(0, picture.width - self.crop), random.randint(0, picture.height - self.crop)
        clean = np.asarray(picture.crop((left, top, left + self.crop, top + self.crop)))
        source, target = self.noisy(clean), self.noisy(clean)
        return source, target

    def noisy(self, clean: Any) -> torch.Tensor:
        noise = np.random.default_rng().normal(0, random.uniform(0, 50), clean.shape)
        cut = np.clip(clean + noise, 0, 255).astype(np.uint8)
        return torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1))).float().div(255)


def baseline(job: Job) -> Iterator[Any]:
    return iter(DataLoader(Baseline(job), job.batch))


def read_webdataset(job: Job) -> Iterator[Any]:
    import webdataset

    tars = sorted(map(str, (job.folder / "jpeg").glob("*.tar")))
    samples = webdataset.WebDataset(tars, resampled=True, shardshuffle=False).shuffle(500, initial=100).to_tuple("jpg")
    made = samples.map_tuple(lambda data: pair_of(data, job.crop)).map(lambda one: one[0]).batched(job.batch)
    return iter(webdataset.WebLoader(made, batch_size=None, num_workers=job.workers))


def write_mds(job: Job) -> None:
    from streaming import MDSWriter  # type: ignore[import-not-found]  # only where it is installed

    with MDSWriter(out=str(job.folder / "mds"), columns={"jpg": "bytes"}, size_limit=1 << 27) as writer:
        for path in job.pictures():
            writer.write({"jpg": path.read_bytes()})


def read_mds(job: Job) -> Iterator[Any]:
    from streaming import StreamingDataset

    class Pairs(StreamingDataset):  # type: ignore[misc]  # of an untyped base
        def __getitem__(self, position: Any) -> Any:
            return pair_of(super().__getitem__(position)["jpg"], job.crop)

    pairs = Pairs(local=str(job.folder / "mds"), shuffle=True, batch_size=job.batch, epoch_size=100_000)
    return endless(DataLoader(pairs, job.batch, num_workers=job.workers, persistent_workers=True))


def one_file(path: str) -> bytes:
    return Path(path).read_bytes()


def write_litdata(job: Job) -> None:
    """In a folder for temporary files of its own: the library empties `data` and `chunks` in there."""
    import tempfile

    private = job.folder / "litdata-tmp"
    private.mkdir()
    os.environ |= {"TMPDIR": str(private), "DATA_OPTIMIZER_CACHE_FOLDER": str(private / "chunks")}
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = str(private / "data")
    tempfile.tempdir = None
    import litdata  # type: ignore[import-not-found]  # only where it is installed

    paths = [str(path) for path in job.pictures()] * REPEATED
    litdata.optimize(one_file, paths, str(job.folder / "litdata"), chunk_bytes="64MB", num_workers=1)


def read_litdata(job: Job) -> Iterator[Any]:
    import litdata

    class Pairs(litdata.StreamingDataset):  # type: ignore[misc]  # of an untyped base
        def __getitem__(self, position: Any) -> Any:
            return pair_of(super().__getitem__(position), job.crop)

    pairs = Pairs(str(job.folder / "litdata"), shuffle=True, drop_last=True)
    options = {"batch_size": job.batch, "num_workers": job.workers, "persistent_workers": True}
    return endless(litdata.StreamingDataLoader(pairs, **options))


def endless(batches: Any) -> Iterator[Any]:
    while True:
        yield from batches


def write_ffcv(job: Job, mode: str) -> None:
    from ffcv.fields import RGBImageField  # type: ignore[import-not-found]  # only where it builds
    from ffcv.writer import DatasetWriter  # type: ignore[import-not-found]  # as above

    paths = job.pictures()

    class Pictures:
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, position: int) -> tuple[Image.Image]:
            return (Image.open(paths[position]).convert("RGB"),)

    fields = {"image": RGBImageField(write_mode=mode)}
    page = 1 << 26  # bytes, which must hold the largest picture
    writer = DatasetWriter(str(job.folder / f"{mode}.beton"), fields, num_workers=1, page_size=page)
    writer.from_indexed_dataset(Pictures())


def read_ffcv(job: Job, mode: str) -> Iterator[Any]:
    """It has threads instead of workers, and no place in them for torch's noise, which is drawn over batches here."""
    from ffcv.fields.decoders import RandomResizedCropRGBImageDecoder  # type: ignore[import-not-found]  # as above
    from ffcv.loader import Loader, OrderOption  # type: ignore[import-not-found]  # as above
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage  # type: ignore[import-not-found]  # as above

    side = job.crop

    class Decoder(RandomResizedCropRGBImageDecoder):  # type: ignore[misc]  # of an untyped base
        """Crops that are not resized."""

        @property
        def get_crop_generator(self) -> Any:
            def place(height: int, width: int, scale: Any, ratio: Any) -> Any:
                top = np.random.randint(0, height - side + 1)  # noqa: NPY002  # numba shares no generator among threads
                left = np.random.randint(0, width - side + 1)  # noqa: NPY002  # as above
                return top, left, side, side

            return place

    steps = [Decoder((side, side)), RandomHorizontalFlip(), ToTensor(), ToTorchImage(convert_back_int16=False)]
    options = {"num_workers": job.workers, "order": OrderOption.RANDOM, "pipelines": {"image": steps}}
    indices = np.tile(np.arange(len(job.pictures())), 50)
    loader = Loader(str(job.folder / f"{mode}.beton"), job.batch, indices=indices, drop_last=True, **options)
    for (views,) in endless(loader):
        clean = views.float().div_(255)
        yield tuple(
            torch.randn(clean.shape).mul_(SIGMA * torch.rand(len(clean), 1, 1, 1)).add_(clean) for _ in range(2)
        )


def read_dali(job: Job, noise: bool = True) -> Iterator[Any]:
    """On the CPU, its own noise; it decodes no more of a picture than it needs."""
    import nvidia.dali.fn as fn
    from nvidia.dali import pipeline_def, types

    tars = sorted((job.folder / "jpeg").glob("*.tar"))

    # The decorator has no types.
    @pipeline_def(batch_size=job.batch, num_threads=job.workers, device_id=None, prefetch_queue_depth=4)  # type: ignore[untyped-decorator]
    def pairs() -> Any:
        paths, indices = [str(tar) for tar in tars], [str(tar.with_suffix(".idx")) for tar in tars]
        data = fn.readers.webdataset(paths=paths, index_paths=indices, ext=["jpg"], random_shuffle=True)
        place = {f"crop_pos_{axis}": fn.random.uniform(range=[0, 1]) for axis in "xy"}
        view = fn.decoders.image_crop(data, crop=(job.crop, job.crop), output_type=types.RGB, **place)
        mirror = {way: fn.random.coin_flip() for way in ("horizontal", "vertical")}
        clean = fn.transpose(fn.cast(fn.flip(view, **mirror), dtype=types.FLOAT), perm=[2, 0, 1]) / 255.0
        return tuple(clean + fn.random.normal(clean) * fn.random.uniform(range=[0, SIGMA]) for _ in range(2))

    pipeline = pairs()
    pipeline.build()
    while True:
        yield tuple(torch.from_numpy(part.as_array()) for part in pipeline.run())


ROWS: dict[str, tuple[Callable[[Job], object] | None, Callable[[Job], Iterator[Any]]]] = {
    "baseline": (None, baseline),
    "webdataset": (None, read_webdataset),
    "mds": (write_mds, read_mds),
    "litdata": (write_litdata, read_litdata),
    "ffcv-jpg": (lambda job: write_ffcv(job, "jpg"), lambda job: read_ffcv(job, "jpg")),
    "ffcv-raw": (lambda job: write_ffcv(job, "raw"), lambda job: read_ffcv(job, "raw")),
    "dali": (None, read_dali),
}


def cpu_seconds() -> float:
    """Of this process group: what every process in it has spent is in fields 14 and 15 of its line (proc(5))."""
    ticks, group = 0, str(os.getpgrp())
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # one that has just ended
            continue
        if fields[2] == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def serve(batches: Iterator[Any], job: Job, dtype: str = "float32", parts: int = 2, whole: int = 1) -> None:
    """Say what the batches look like; then, for every line with seconds, what came in so long: JSON.

    First goes what was made ready meanwhile. Counts whole multiples of `whole` batches.
    """
    first = next(batches)
    shapes = [(list(part.shape), str(part.dtype).removeprefix("torch.")) for part in first[:parts]]
    wanted = [([job.batch, 3, job.crop, job.crop], dtype)] * parts
    assert shapes == wanted, f"{shapes} instead of {wanted}"
    print(json.dumps({"ready": shapes}), flush=True)
    for line in sys.stdin:
        for _ in range(4 * max(1, job.workers) + 2):
            next(batches)
        seconds, count = float(line), 0
        cpu, began = cpu_seconds(), time.perf_counter()
        while time.perf_counter() - began < seconds or count % whole:
            next(batches)
            count += 1
        wall = time.perf_counter() - began
        spent = cpu_seconds() - cpu
        pairs = count * job.batch
        print(json.dumps({"pairs": pairs, "seconds": wall, "cpu_s": spent}), flush=True)


def job_of(words: list[str]) -> Job:
    folder, crop, workers, batch = words
    return Job(Path(folder), int(crop), int(workers), int(batch))


def main(verb: str, row: str, job: Job) -> None:
    torch.set_num_threads(1)
    write, read = ROWS[row]
    if verb == "prepare" and write:
        write(job)
    if verb == "serve":
        serve(read(job), job)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], job_of(sys.argv[3:]))
