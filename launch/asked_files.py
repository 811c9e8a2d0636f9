"""Which files a command line asks for, and where their results go."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.sources.roots import expand
from pipeline.stills.kinds import STILL_SUFFIXES


@dataclass(frozen=True)
class Asked:
    """Sources with their targets, in order, and how many files of folders are of no kind that we know."""

    targets: dict[Path, Path]
    passed_over: int


def asked_files(arguments: Iterable[str], out: Path) -> Asked:
    """Files, folders (nested as they like), globs and numbered sequences such as shot_%04d.png; results keep names.

    Raises BadInput where there is none, where two results would share a name, or one would overwrite its source.
    """
    sources: dict[Path, Path] = {}
    takers: dict[Path, Path] = {}
    passed_over = 0
    for argument in arguments:
        for root in expand(re.sub(r"%0?(\d+)d", lambda width: "[0-9]" * int(width[1]), argument)):
            if not isinstance(root, Path):
                raise BadInput("a remote source", root, "a URL", "files of this machine", "copy them here first")
            if root.is_dir():
                inside = [path for path in sorted(root.rglob("*")) if path.is_file() and visible(path, root)]
                if root.resolve() != out.resolve():  # results of an earlier run within the folder are no sources
                    inside = [path for path in inside if out.resolve() not in path.resolve().parents]
                pictures = [path for path in inside if path.suffix.lower() in STILL_SUFFIXES]
                passed_over += len(inside) - len(pictures)
                found = {path: out / path.relative_to(root) for path in pictures}
            elif root.exists():
                found = {root: out / root.name}
            else:
                raise BadInput("no such source", root, "nothing there", "a picture, or a folder of them", "check it")
            for source, target in found.items():
                refuse_clash(takers.setdefault(target, source), source, target, out)
                sources[source] = target
    if not sources:
        wanted = f"a file with one of {' '.join(sorted(STILL_SUFFIXES))}"
        raise BadInput("no pictures", ", ".join(arguments), "none", wanted, "name the folder that holds them")
    return Asked(sources, passed_over)


def visible(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def refuse_clash(taker: Path, source: Path, target: Path, out: Path) -> None:
    if target.resolve() == source.resolve():
        raise BadInput("the output would overwrite the input", source, f"--out {out}", "another folder")
    if taker.resolve() != source.resolve():
        got = f"{taker} and {source}"
        raise BadInput("two pictures of one name", target, got, "different names", "denoise them into two folders")
