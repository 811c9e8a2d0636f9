"""Scenes of several shots: which files show the same thing, by folder, by name in parallel folders, or by a pattern."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.picture import SUFFIXES
from pipeline.sources.listing import as_text
from pipeline.sources.roots import labels, refuse_repeated

Layout = Literal["folders", "parallel", "stacks", "pattern"]
PATTERNED = SUFFIXES | {".npy"}


@dataclass(frozen=True)
class ShotFile:
    """A file of one shot, or of several as the pages of a stack."""

    path: Path
    name: str
    """Of the shot: the file's, its folder's, or the pattern's."""
    size: int


@dataclass(frozen=True)
class ShotScene:
    """One thing and the files that show it, in the order of their names."""

    title: str
    files: tuple[ShotFile, ...]
    references: tuple[ShotFile, ...] = ()
    """Files of the same thing without noise; more than one is a fault."""

    @property
    def size(self) -> int:
        return sum(file.size for file in (*self.files, *self.references))

    @property
    def identity(self) -> str:
        return repr([[(as_text(f.name), f.size) for f in part] for part in (self.files, self.references)])


@dataclass(frozen=True, kw_only=True)
class ScenesConfig:
    """Which files belong together."""

    layout: Layout
    """folders: the files of a folder show one thing. parallel: files of one name in two or more folders. stacks: each
    file is a stack of shots. pattern: a regular expression over names says so."""
    pattern: str = ""
    """With named groups scene and shot, to be found in a file's path below its source."""
    references: tuple[str, ...] = ("clean", "gt", "reference", "truth")
    """Names of shots that are clean."""

    def __post_init__(self) -> None:
        if (self.layout == "pattern") != bool(self.pattern):
            raise BadInput("--pattern and --pairs pattern go together", "the command line", self.pattern, "both")
        try:
            groups = re.compile(self.pattern).groupindex.keys()
        except re.error as error:
            raise BadInput(
                "--pattern is no regular expression", "the command line", self.pattern, str(error)
            ) from error
        if self.pattern and not {"scene", "shot"} <= groups:
            wanted = "(?P<scene>...) and (?P<shot>...)"
            raise BadInput("--pattern lacks a group", "the command line", self.pattern, wanted)


@dataclass
class Listing:
    """The scenes found, and the files that belong to none."""

    scenes: list[ShotScene] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def list_scenes(sources: list[str], config: ScenesConfig) -> Listing:
    """Every scene below folders, sorted by title. Raises BadInput where there is none."""
    roots = [Path(source) for source in sources]
    refuse_repeated([*roots])
    for root in roots:
        if not root.is_dir():
            todo = "unpack it first" if root.exists() else "check the path"
            raise BadInput("scenes are read from folders", root, "no folder", "a folder of pictures", todo)
    if config.layout == "parallel" and len(roots) < 2:
        raise BadInput("parallel folders are two or more", "the command line", str(len(roots)), "a folder a shot")
    groups: dict[str, list[ShotFile]] = {}
    listing = Listing()
    for root, label in zip(roots, labels([*roots]), strict=True):
        prefix = f"{as_text(label)}/" if label and config.layout != "parallel" else ""
        for path in sorted(walk_files(root)):
            name = as_text(path.relative_to(root).as_posix())
            found = place(name, label or root.name, config)
            if found is None:
                listing.left_out.append(LeftOut(prefix + name, "unpaired", "its name does not fit the pattern"))
                continue
            scene, shot = found
            groups.setdefault(prefix + scene, []).append(ShotFile(path, shot, path.stat().st_size))
    for title in sorted(groups):
        files = groups[title]
        clean = tuple(f for f in files if f.name.lower() in config.references)
        listing.scenes.append(ShotScene(title, tuple(f for f in files if f not in clean), clean))
    if not listing.scenes:
        got = f"{len(listing.left_out)} files, of no scene" if listing.left_out else "no picture, no .npy"
        raise BadInput("no scenes", ", ".join(sources), got, "scenes of two or more shots")
    return listing


def walk_files(root: Path) -> list[Path]:
    """Every visible file with the suffix of a picture or of .npy."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = (name for name in names if not name.startswith("."))
        found += [Path(folder, name) for name in visible if os.path.splitext(name)[1].lower() in PATTERNED]
    return found


def place(name: str, source: str, config: ScenesConfig) -> tuple[str, str] | None:
    """Scene and shot of a file, None where it belongs to no scene."""
    stem = os.path.splitext(name)[0]
    folder, _, base = stem.rpartition("/")
    if config.layout == "folders":
        return folder or ".", base
    if config.layout == "parallel":
        return stem, source.rpartition("/")[2]
    if config.layout == "stacks":
        return stem, base
    match = re.search(config.pattern, name)
    return (match["scene"], match["shot"]) if match else None
