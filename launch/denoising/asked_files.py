"""Which files a command line asks for, and where their results go."""

import re
from collections.abc import Collection, Iterable
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


def asked_files(
    arguments: Iterable[str], out: Path, suffixes: Collection[str] = STILL_SUFFIXES, compare: Path | None = None
) -> Asked:
    """Files, folders (nested as they like), globs and sequences, shot_%04d.png or shot.####.exr; results keep names.

    Of folders, files with one of the suffixes, and none that an earlier run may have written there. Raises BadInput
    where there is none, where two results would share a name, or one would overwrite its source.
    """
    sources: dict[Path, Path] = {}
    takers: dict[Path, Path] = {}
    passed_over = 0
    for argument in arguments:
        for root in expand(numbered(argument)):
            if not isinstance(root, Path):
                raise BadInput("a remote source", root, "a URL", "files of this machine", "copy them here first")
            if root.is_dir():
                ours = [folder.resolve() for folder in (out, compare) if folder and folder.resolve() != root.resolve()]
                inside = [path for path in sorted(root.rglob("*")) if path.is_file() and visible(path, root)]
                inside = [path for path in inside if not set(ours) & set(path.resolve().parents)]
                pictures = [path for path in inside if path.suffix.lower() in suffixes]
                passed_over += len(inside) - len(pictures)
                found = {path: out / path.relative_to(root) for path in pictures}
            elif root.exists():
                found = {root: out / root.name}
            else:
                raise BadInput("no such source", root, "nothing there", "a picture, or a folder of them", "check it")
            for source, target in found.items():
                refuse_clash(takers.setdefault(target, source), source, target)
                sources[source] = target
    if not sources:
        wanted = f"a file with one of {' '.join(sorted(suffixes))}"
        raise BadInput("no pictures", ", ".join(arguments), "none", wanted, "name the folder that holds them")
    refuse_overwriting(sources, sources.values())
    return Asked(sources, passed_over)


def numbered(argument: str) -> str:
    """A sequence as a glob: %04d and #### stand for four digits, where nothing is called so."""
    if Path(argument).exists():
        return argument
    return re.sub(r"%0?(\d+)d|(#+)", lambda run: "[0-9]" * (int(run[1]) if run[1] else len(run[2])), argument)


def visible(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def refuse_clash(taker: Path, source: Path, target: Path) -> None:
    if taker.resolve() != source.resolve():
        got = f"{taker} and {source}"
        raise BadInput("two pictures of one name", target, got, "different names", "denoise them into two folders")


def refuse_overwriting(sources: Iterable[Path], targets: Iterable[Path]) -> None:
    """Raises BadInput where a result would take the place of any source."""
    inputs = {source.resolve(): source for source in sources}
    for target in targets:
        if target.resolve() in inputs:
            where = inputs[target.resolve()]
            raise BadInput("the output would overwrite the input", where, f"--out {target.parent}", "another folder")
