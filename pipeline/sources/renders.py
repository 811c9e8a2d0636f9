"""Which EXR files are realisations of one frame, which are its reference, and which fit nowhere.

Recognised by name, without opening anything:
- Open Image Denoise's and Houdini's training files: `frame_0008spp.hdr.exr`, `.alb.exr`, `.nrm.exr`; samples per pixel
  are numbers, and names that differ in zeros alone are realisations of their own; the highest is the reference.
- One file a realisation, with layers or with a buffer's name: `frame_a_0008spp.exr`, `frame_b.0001.exr`,
  `frame_seed12.exr`, `frame_albedo_b1.exr` (Altus), `frame_ref.exr`.
- Half buffers: `frame/colorA.exr`, `frame/colorB.exr`, `frame/albedoA.exr` (Tungsten).
- Anything else by a regular expression on the path below the folder, with groups named `frame` and, where there are
  such, `realisation`, `spp`, `seed`, `buffer`, `camera` and `reference`.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.exr.buffers import ALBEDO, COLOR, DEPTH, NORMAL, VARIANCE
from pipeline.index import LeftOut
from pipeline.sources.listing import as_text

SUFFIX = ".exr"
WORDS = {
    **dict.fromkeys(("hdr", "color", "colour", "beauty", "radiance", "rgb", "rgba"), COLOR),
    **dict.fromkeys(("alb", "albedo"), ALBEDO),
    **dict.fromkeys(("nrm", "normal", "normals"), NORMAL),
    **dict.fromkeys(("z", "depth"), DEPTH),
    **dict.fromkeys(("var", "variance"), VARIANCE),
}
REFERENCES = ("ref", "reference", "gt", "target")
OIDN = re.compile(r"(?P<frame>.+)_(?P<suffix>(?P<spp>\d+)(?:spp)?|ref|reference|gt|target)\.(?P<word>hdr|alb|nrm|z)")
HALF = re.compile(r"(color|albedo|normal|depth)(A|B|Variance)?")  # Tungsten's
TOKEN = re.compile(
    r"(?:(?P<spp>\d+)spp|s(?:eed)?(?P<seed>\d+)|(?P<realisation>[a-h]|b[01]|r\d+)|(?P<number>\d+))", re.I
)
GROUPS = {"frame", "realisation", "spp", "seed", "buffer", "camera", "reference"}


@dataclass(frozen=True)
class RenderFile:
    """What a file's name says."""

    path: Path
    title: str
    size: int
    frame: str
    buffer: str = ""
    """The one that it holds; empty where its layers tell."""
    realisation: str = ""
    spp: int | None = None
    seed: int | None = None
    camera: str = ""
    reference: bool = False
    oidn: bool = False
    """Whether the highest samples per pixel are the reference."""


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


def compiled(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise BadInput("not a regular expression", "--renders-pattern", f"{pattern}: {error}") from error
    names = set(expression.groupindex)
    if "frame" not in names or names - GROUPS:
        wanted = f"a group named frame, and others of {', '.join(sorted(GROUPS - {'frame'}))}"
        raise BadInput("a pattern without the groups it needs", "--renders-pattern", pattern, wanted)
    return expression


def exr_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadInput("no such folder of renders", folder, "nothing there" if not folder.exists() else "a file")
    found = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(root) / name for name in names if name.lower().endswith(SUFFIX) and not name.startswith(".")]
    return sorted(found)


def by_pattern(path: Path, label: str, name: str, expression: re.Pattern[str]) -> RenderFile | None:
    match = expression.fullmatch(name)
    if match is None:
        return None
    said = {group: text for group, text in match.groupdict().items() if text is not None}
    return RenderFile(
        path=path,
        title=as_text(label + name) + SUFFIX,
        size=path.stat().st_size,
        frame=as_text(label + said["frame"]),
        buffer=WORDS.get(said.get("buffer", "").lower(), said.get("buffer", "")),
        realisation=said.get("realisation", ""),
        spp=_number(said.get("spp")),
        seed=_number(said.get("seed")),
        camera=said.get("camera", ""),
        reference=bool(said.get("reference")),
    )


def by_name(path: Path, label: str, name: str) -> RenderFile:
    """Read a name from its end: what is known there is taken off, and the rest is the frame's."""
    title, size = as_text(label + name) + SUFFIX, path.stat().st_size
    folder, _, stem = name.rpartition("/")
    prefix = as_text(label + (f"{folder}/" if folder else ""))
    oidn = OIDN.fullmatch(stem)
    if oidn:
        spp, suffix = _number(oidn["spp"]), oidn["suffix"]
        known = {"buffer": WORDS[oidn["word"]], "realisation": suffix, "spp": spp, "reference": spp is None}
        return RenderFile(path, title, size, prefix + as_text(oidn["frame"]), oidn=True, **known)  # type: ignore[arg-type]
    kept: list[str] = []
    said: dict[str, str] = {}
    pieces = re.split(r"([._-])", stem)
    while pieces:
        token = pieces[-1]
        if not take(token, said):
            if not token.isdigit():
                break
            kept.insert(0, token)  # the number of a frame in a sequence
        del pieces[-2:]
    rest = "".join([*pieces, *(f".{number}" for number in kept)]) or folder.rpartition("/")[2] or "frame"
    return RenderFile(
        path=path,
        title=title,
        size=size,
        frame=prefix + as_text(rest),
        buffer=said.get("buffer", ""),
        realisation=said.get("realisation", ""),
        spp=_number(said.get("spp")),
        seed=_number(said.get("seed")),
        reference="reference" in said,
    )


def take(token: str, said: dict[str, str]) -> bool:
    """Whether a token says something that has not been said yet."""
    half = HALF.fullmatch(token)
    match = TOKEN.fullmatch(token)
    found: dict[str, str] = {}
    if half and half[2] and half[2] != "Variance":
        found = {"buffer": half[1], "realisation": half[2]}
    elif half and half[2]:
        found = {"buffer": VARIANCE}
    elif token.lower() in WORDS:
        found = {"buffer": WORDS[token.lower()]}
    elif token.lower() in REFERENCES:
        found = {"reference": token}
    elif match and not match["number"]:
        found = {name: text for name, text in match.groupdict().items() if text}
    if not found or found.keys() & said.keys():
        return False
    said.update(found)
    return True


def group(frame: str, files: list[RenderFile], renders: Renders) -> None:
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
        reason = ""
        if bare and sum(not key[0] for key in by_realisation) > 1:
            reason = f"of no realisation, but {frame} has several: it may hold the samples of them all"
        elif not any(file.buffer in ("", COLOR) for file in members):
            reason = "no radiance of the same realisation beside it"
        if reason:
            kind = "spare" if bare else "unpaired"
            renders.left_out += [LeftOut(file.title, kind, reason) for file in members]
            continue
        one = Realisation(name, spp or None, None if seed < 0 else seed, tuple(members))
        (references if reference else realisations).append(one)
    for extra in references[:-1]:
        renders.left_out += [LeftOut(file.title, "spare", "another reference is used") for file in extra.files]
    if len(realisations) < 2:
        reason = f"{frame} has {'one realisation' if realisations else 'no realisation'}, which pairs with nothing"
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


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
