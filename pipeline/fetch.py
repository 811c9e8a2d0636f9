"""Verb: public sets of pictures, from their own servers, as the archives that `n2n shard` reads as they are."""

import argparse
import shlex
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.errors import BadInput, run_verb
from pipeline.remote.download import download

CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A zip that anyone may fetch."""

    url: str
    bytes: int | None = None
    """As published; None where only the server knows."""


COCO = "http://images.cocodataset.org/zips"  # as cocodataset.org links them; the host has no certificate of its own
ARCHIVES = {  # sizes as the mirrors of the set list them, which agree
    "coco-val2017": Archive(f"{COCO}/val2017.zip", 815_585_330),
    "coco-train2017": Archive(f"{COCO}/train2017.zip", 19_336_861_798),
    "coco-test2017": Archive(f"{COCO}/test2017.zip", 6_646_970_404),
    "coco-unlabeled2017": Archive(f"{COCO}/unlabeled2017.zip", 20_126_613_414),
}
IMAGENET = "imagenet"
IMAGENET_FILES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")


def fetch(archive: Archive, path: Path, verify: bool = False) -> bool:
    """Bring an archive to `path`; False where it was there already, which is read again only to `verify` it.

    Raises BadInput where it cannot be had, or is not a whole zip; `path` does not exist then, unless it did before.
    """
    if not path.exists():
        download(archive.url, path, check_zip, archive.bytes)
        return True
    size = path.stat().st_size
    if archive.bytes not in (None, size):
        raise BadInput("another file is there", path, f"{size:,} bytes", f"{archive.bytes:,} bytes", "delete it")
    if verify:
        check_zip(path)
    return False


def check_zip(path: Path) -> None:
    """Read a zip whole and compare every member with its CRC-32. Raises BadInput where it is not as it was made."""
    todo = "delete it, if it is still there, and run the same command again; or try another --url"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.compress_size for member in members)
            with tqdm(desc=f"checking {path.name}", total=total, unit="B", unit_scale=True, disable=None) as bar:
                for member in members:
                    read_member(archive, member)
                    bar.update(member.compress_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadInput("not a whole zip", path, str(error), "a zip whose checksums are right", todo) from error


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as file:  # which raises at its end where the CRC-32 is another
        while file.read(CHUNK):
            pass


def imagenet(out: Path) -> None:
    """Say where ImageNet's archives come from and go. Raises BadInput where they are not there."""
    missing = [name for name in IMAGENET_FILES if not (out / name).exists()]
    if missing:
        raise BadInput(
            "ImageNet needs an account, so it cannot be fetched from here",
            where=out,
            got=f"no {' and no '.join(missing)}",
            wanted="the official archives of ILSVRC 2012, as they are",
            todo="\n            ".join(
                [
                    "sign in at https://image-net.org/download.php, accept the terms, download",
                    *(f"{name} to {out / name}" for name in missing),
                    f"then: {shard_command(out / IMAGENET_FILES[0], 'imagenet-train')}",
                    f"and:  {shard_command(out / IMAGENET_FILES[1], 'imagenet-val')}",
                ]
            ),
        )
    for name, title in zip(IMAGENET_FILES, ("imagenet-train", "imagenet-val"), strict=True):
        print(f"{out / name} is there; next: {shard_command(out / name, title)}")


def shard_command(path: Path, name: str) -> str:
    return f"n2n shard {shlex.quote(str(path))} --out shards/{name}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="n2n fetch", description="Download a public set of pictures, or go on with it."
    )
    parser.add_argument("name", choices=(*ARCHIVES, IMAGENET), help="which")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder for the archive (default: data)")
    parser.add_argument("--url", help="another address of the same file, such as a mirror")
    parser.add_argument("--verify", action="store_true", help="check an archive that is there already, too")
    options = parser.parse_args(arguments)
    if options.name == IMAGENET:
        imagenet(options.out)
        return
    known = ARCHIVES[options.name]
    url = options.url or known.url
    if not url.startswith(("http://", "https://")):
        raise BadInput("not an address", "--url", url, "http:// or https://")
    path = options.out / known.url.rpartition("/")[2]
    fetched = fetch(Archive(url, known.bytes), path, options.verify)
    print(f"{path}: {'fetched and checked' if fetched else 'there already' + (', and whole' * options.verify)}")
    print(f"next: {shard_command(path, options.name)}")


if __name__ == "__main__":
    run_verb(main)
