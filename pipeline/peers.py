"""Writers of other libraries, for the benchmark: run by the Python that has them, which need not have ours.

    PYTHON -P pipeline/peers.py WRITER OUT < paths separated by NUL

Each does what its users do with files that they have; pipeline/bench.py says what. The last line that is printed says
what the writing took, in seconds, once the library had been imported: some take ten seconds for that.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def write_webdataset(paths: list[str], out: Path) -> None:
    import webdataset

    out.mkdir()
    with webdataset.ShardWriter(str(out / "%06d.tar"), maxsize=128e6, verbose=0) as writer:
        for number, path in enumerate(paths):
            writer.write({"__key__": f"{number:09d}", "jpg": Path(path).read_bytes()})


def write_mds(paths: list[str], out: Path, hashes: tuple[str, ...] = ()) -> None:
    from streaming import MDSWriter  # type: ignore[import-not-found]  # only where it is installed

    columns = {"jpg": "bytes"}
    with MDSWriter(out=str(out / "mds"), columns=columns, hashes=list(hashes), size_limit=1 << 27) as writer:
        for path in paths:
            writer.write({"jpg": Path(path).read_bytes()})


def write_mds_hashed(paths: list[str], out: Path) -> None:
    write_mds(paths, out, ("sha256",))


def write_ffcv(paths: list[str], out: Path) -> None:
    from ffcv.fields import RGBImageField  # type: ignore[import-not-found]  # only where it builds
    from ffcv.writer import DatasetWriter  # type: ignore[import-not-found]
    from PIL import Image

    class Pictures:
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, position: int) -> tuple[Image.Image]:
            return (Image.open(paths[position]).convert("RGB"),)

    out.mkdir()
    if paths:
        writer = DatasetWriter(str(out / "a.beton"), {"image": RGBImageField(write_mode="jpg")}, num_workers=1)
        writer.from_indexed_dataset(Pictures(), chunksize=100)


WRITERS: dict[str, Callable[[list[str], Path], None]] = {
    "webdataset": write_webdataset,
    "mds": write_mds,
    "mds-sha256": write_mds_hashed,
    "ffcv": write_ffcv,
}


def listed(text: str) -> Iterator[str]:
    yield from (path for path in text.split("\0") if path)


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(writer: str, out: Path, paths: list[str]) -> None:
    WRITERS[writer]([], out / "nothing")
    wall, cpu = time.perf_counter(), cpu_seconds()
    WRITERS[writer](paths, out / "all")
    print(json.dumps({"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), list(listed(sys.stdin.read())))
