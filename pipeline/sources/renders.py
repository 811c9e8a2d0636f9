"""Which EXR files are realisations of one frame, which are its reference, and which fit nowhere: by their names."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.exr.buffers import COLOR
from pipeline.index import LeftOut
from pipeline.sources.listing import as_text
from pipeline.sources.render_names import SUFFIX, RenderFile, by_name, by_pattern, compiled


@dataclass(frozen=True)
class Realisation:
    """One render of a frame, with the auxiliary buffers that came from the same samples."""

    name: str
    spp: int | None
    seed: int | None
    files: tuple[RenderFile, ...]


@dataclass(frozen=True)
class RenderFrame:
    """One frame: its realisations, and its reference where there is one."""

    name: str
    realisations: tuple[Realisation, ...]
    reference: Realisation | None = None
    camera: str = ""

    @property
    def files(self) -> list[RenderFile]:
        reference = self.reference.files if self.reference else ()
        return [file for files in (*(one.files for one in self.realisations), reference) for file in files]

    @property
    def title(self) -> str:
        return self.name

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def identity(self) -> str:
        return repr([(file.title, file.size) for file in self.files])


@dataclass
class Renders:
    """Every frame of some folders, in the order of their names, and what is left out."""

    frames: list[RenderFrame] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def list_renders(folders: Sequence[Path], pattern: str = "") -> Renders:
    """Group the EXR files below some folders into frames.

    Raises BadInput where a folder is missing, the pattern is none, or no two files are realisations of one frame.
    """
    expression = compiled(pattern) if pattern else None
    renders = Renders()
    groups: dict[str, list[RenderFile]] = {}
    for number, folder in enumerate(folders):
        label = f"{folder.name}/" if len({one.name for one in folders}) == len(folders) > 1 else ""
        label = label or (f"{number}/" if len(folders) > 1 else "")
        for path in exr_files(folder):
            name = path.relative_to(folder).with_suffix("").as_posix()
            file = by_pattern(path, label, name, expression) if expression else by_name(path, label, name)
            if file is None:
                renders.left_out.append(unpaired(as_text(label + name) + SUFFIX, "its name does not fit the pattern"))
            else:
                groups.setdefault(file.frame, []).append(file)
    for frame, files in sorted(groups.items()):
        group(frame, files, renders)
    if not renders.frames:
        reasons = "".join(f"\n            {lost.source}: {lost.reason}" for lost in renders.left_out[:10])
        raise BadInput(
            "no frame with two realisations",
            where=", ".join(map(str, folders)),
            got=f"{sum(map(len, groups.values()))} EXR files{reasons}",
            wanted="two or more independent renders of each frame, told apart by their names",
            todo="say how with --renders-pattern, such as '(?P<frame>.+)_run(?P<realisation>[0-9]+)'",
        )
    return renders


def list_frames(paths: Iterable[Path]) -> Renders:
    """Group files to be denoised into frames, of one realisation or more; no samples per pixel make a reference."""
    renders = Renders()
    groups: dict[str, list[RenderFile]] = {}
    for path in paths:
        file = by_name(path, "", path.with_suffix("").as_posix(), sequences=True)
        groups.setdefault(file.frame, []).append(file)
    for frame, files in sorted(groups.items()):
        group(frame, files, renders, least=1)
    return renders


def exr_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadInput("no such folder of renders", folder, "nothing there" if not folder.exists() else "a file")
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(root) / name for name in names if name.lower().endswith(SUFFIX) and not name.startswith(".")]
    return sorted(found)


def group(frame: str, files: list[RenderFile], renders: Renders, least: int = 2) -> None:
    """Make a frame of its files, or say of each why it is not in one."""
    by_realisation: dict[tuple[bool, str, int, int], list[RenderFile]] = {}
    explicit = any(file.reference for file in files)
    highest = max((file.spp or 0 for file in files), default=0)
    for file in files:
        implied = file.oidn and not explicit and file.spp == highest and highest > least_spp(files)
        key = (file.reference or implied, file.realisation, file.spp or 0, -1 if file.seed is None else file.seed)
        by_realisation.setdefault(key, []).append(file)
    references: list[Realisation] = []
    realisations: list[Realisation] = []
    for (reference, name, spp, seed), members in sorted(by_realisation.items(), key=lambda item: sort_key(item[0])):
        members = first_of_each(members, renders)
        bare = not (reference or name or spp or seed >= 0)
        if bare and sum(not key[0] for key in by_realisation) > 1:
            reason = f"of no realisation, but {frame} has several: it may hold the samples of them all"
            renders.left_out += [LeftOut(file.title, "spare", reason) for file in members]
            continue
        if not any(file.buffer in ("", COLOR) for file in members):
            renders.left_out += [
                unpaired(file.title, "no radiance of the same realisation beside it") for file in members
            ]
            continue
        one = Realisation(name, spp or None, None if seed < 0 else seed, tuple(members))
        (references if reference else realisations).append(one)
    for extra in references[:-1]:
        renders.left_out += [LeftOut(file.title, "spare", "another reference is used") for file in extra.files]
    if len(realisations) < least:
        reason = f"{frame} has {'one realisation' if realisations else 'no realisation'}, which pairs with nothing"
        reason = reason if least > 1 else "by its name a reference, and nothing to denoise"
        renders.left_out += [
            unpaired(file.title, reason) for one in realisations + references[-1:] for file in one.files
        ]
        return
    camera = next((file.camera for file in files if file.camera), "")
    reference_found = references[-1] if references else None
    renders.frames.append(RenderFrame(frame, tuple(realisations), reference_found, camera))


def least_spp(files: Iterable[RenderFile]) -> int:
    return min((file.spp for file in files if file.spp is not None), default=0)


def sort_key(key: tuple[bool, str, int, int]) -> tuple[bool, int, str, int]:
    """Realisations by samples per pixel, so that the first two of a frame are its noisiest."""
    reference, name, spp, seed = key
    return reference, spp, name, seed


def first_of_each(members: list[RenderFile], renders: Renders) -> list[RenderFile]:
    """One file a buffer; a second one of the same realisation is left out."""
    chosen: dict[str, RenderFile] = {}
    for file in sorted(members, key=lambda file: (file.buffer, file.title)):
        twin = chosen.setdefault(file.buffer, file)
        if twin is not file:
            renders.left_out.append(unpaired(file.title, f"the same realisation as {twin.title}"))
    return list(chosen.values())


def unpaired(title: str, reason: str) -> LeftOut:
    return LeftOut(title, "unpaired", reason)
