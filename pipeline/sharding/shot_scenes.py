"""A scene's files -> its realisations, audited; or why it has none."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from pipeline.audit import AuditConfig, audit_scene, keep_good
from pipeline.errors import BadInput
from pipeline.index import LeftOut
from pipeline.picture import Pixels
from pipeline.sharding.realisations import Realisations
from pipeline.sources.shot_pixels import read_shots
from pipeline.sources.shots import ShotFile, ShotScene


@dataclass(frozen=True, kw_only=True)
class ShotsConfig:
    """What becomes of a scene's shots."""

    audit: AuditConfig = field(default_factory=AuditConfig)
    tile: int = 0
    """Larger scenes are cut into equal parts of at most this side, each a sample; 0: none are."""
    white: float = 0.0
    """The value of white, such as 4095 for 12 bits in 16; 0: the greatest of an integer type, 1 of a float."""


@dataclass(frozen=True)
class Shot:
    """One shot: where it came from, for messages and for what is said of the sample."""

    name: str
    pixels: Pixels


def load_scene(scene: ShotScene, config: ShotsConfig) -> list[Realisations] | LeftOut:
    """Read and audit a scene. Raises BadInput where a file has vanished, or where the audit is to refuse a set."""
    digest = hashlib.sha256()
    try:
        shots = [shot for file in scene.files for shot in read_file(file, digest)]
        references = [shot for file in scene.references for shot in read_file(file, digest)]
    except BadInput as error:
        what, where, got, wanted, _ = error.args
        return LeftOut(scene.title, "unreadable", f"{where}: {what}: {got}, wanted {wanted}")
    fault = unpaired(shots, references)
    if fault:
        return LeftOut(scene.title, "unpaired", fault)
    kept = list(range(len(shots)))
    dropped: dict[int, str] = {}
    if config.audit.mode != "keep":
        audit = audit_scene([shot.pixels for shot in shots])
        kept, dropped = keep_good([shot.pixels for shot in shots], audit, config.audit)
    reasons = "; ".join(f"{shots[number].name} {reason}" for number, reason in sorted(dropped.items()))
    if dropped and config.audit.mode == "refuse":
        todo = "mend the scene, or choose --audit leave-out or keep"
        raise BadInput("a scene fails the audit", scene.title, reasons, "independent shots of the same thing", todo)
    if len(kept) < 2:
        return LeftOut(scene.title, "audit", reasons)
    about: dict[str, Any] = {
        "source": scene.title,
        "shots": [shots[number].name for number in kept],
        "sha256": digest.hexdigest(),
        **({"left_out": reasons} if dropped else {}),
    }
    pixels = [shots[number].pixels for number in kept]
    sample = Realisations({"color": pixels}, references[0].pixels if references else None, about)
    return sample.cut(config.tile)


def read_file(file: ShotFile, digest: "hashlib._Hash") -> list[Shot]:
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise BadInput("cannot be read", file.path.name, error.strerror or str(error), "a file") from error
    digest.update(data)
    pages = read_shots(data, file.path.name)
    return [Shot(file.name if len(pages) == 1 else f"{file.name}[{page}]", p) for page, p in enumerate(pages)]


def unpaired(shots: list[Shot], references: list[Shot]) -> str:
    """Why these shots cannot teach each other; nothing where they can."""
    if len(shots) < 2:
        return f"{len(shots)} shot, wanted two or more of the same thing"
    if len(references) > 1:
        return f"{len(references)} references, wanted one at most"
    kinds = {(shot.pixels.shape, shot.pixels.dtype.name) for shot in shots}
    if len(kinds) > 1 or any(shot.pixels.shape != shots[0].pixels.shape for shot in references):
        listed = ", ".join(f"{s.name}: {s.pixels.dtype.name} {s.pixels.shape}" for s in (*shots, *references)[:8])
        return f"shots of different size, channels or type: {listed}"
    if min(shots[0].pixels.shape[1:]) < 2:
        return f"{shots[0].pixels.shape[1:]} pixels, wanted at least 2 on each side"
    return ""
