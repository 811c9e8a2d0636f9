"""What the name of an EXR file says: of which frame it is, which realisation, which buffer.

Recognised without opening anything:
- Open Image Denoise's and Houdini's training files: `frame_0008spp.hdr.exr`, `.alb.exr`, `.nrm.exr`; samples per pixel
  are numbers, and names that differ in zeros alone are realisations of their own; the highest is the reference.
- One file a realisation, with layers or with a buffer's name: `frame_a_0008spp.exr`, `frame_b.0001.exr`,
  `frame_seed12.exr`, `frame_albedo_b1.exr` (Altus), `frame_ref.exr`.
- Half buffers: `frame/colorA.exr`, `frame/colorB.exr`, `frame/albedoA.exr` (Tungsten).
- Anything else by a regular expression on the path below the folder, with groups named `frame` and, where there are
  such, `realisation`, `spp`, `seed`, `buffer`, `camera` and `reference`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.exr.buffers import ALBEDO, COLOR, DEPTH, NORMAL, VARIANCE
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


def by_name(path: Path, label: str, name: str, sequences: bool = False) -> RenderFile:
    """Read a name from its end: what is known there is taken off, and the rest is the frame's.

    In `sequences`, the number in `frame_0008.hdr.exr` is that of a frame and no number of samples.
    """
    title, size = as_text(label + name) + SUFFIX, path.stat().st_size
    folder, _, stem = name.rpartition("/")
    prefix = as_text(label + (f"{folder}/" if folder else ""))
    oidn = OIDN.fullmatch(stem)
    if oidn and not (sequences and oidn["suffix"].isdigit()):
        spp, suffix = _number(oidn["spp"]), oidn["suffix"]
        known = {"buffer": WORDS[oidn["word"]], "realisation": suffix, "spp": spp, "reference": spp is None}
        known |= {"oidn": not sequences}
        return RenderFile(path, title, size, prefix + as_text(oidn["frame"]), **known)  # type: ignore[arg-type]
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


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
