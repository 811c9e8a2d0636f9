"""Checkpoints: one file of tensors and numbers each, whole or absent."""

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import torch

from launch.run_dir import RunDir
from pipeline.atomic import write_whole
from pipeline.errors import BadInput

FORMAT = "n2n-checkpoint-1"
BEST = "best.pt"
log = logging.getLogger(__name__)


def save_checkpoint(run: RunDir, document: dict[str, Any], keep: int, every: int = 0) -> Path:
    """Write a checkpoint under its clock's name, then drop all but the newest `keep` and one in `every` images."""
    path = run.checkpoints / f"{document['images']:012d}.pt"
    write_checkpoint(path, document)
    clocks = {int(path.stem): path for path in list_checkpoints(run)}
    for images in to_drop(list(clocks), keep, every):
        clocks[images].unlink()
    return path


def to_drop(clocks: list[int], keep: int, every: int) -> list[int]:
    """Of checkpoints at these clocks, oldest first, those that are neither new nor the first past a multiple."""
    firsts = {images // every: images for images in reversed(clocks) if images >= every} if every else {}
    return [images for images in clocks[:-keep] if images not in firsts.values()]


def write_checkpoint(path: Path, document: dict[str, Any]) -> None:
    memory = io.BytesIO()
    torch.save({"format": FORMAT, **document}, memory)
    with write_whole(path) as file:
        file.write(memory.getbuffer())


def list_checkpoints(run: RunDir) -> list[Path]:
    """The run's checkpoints, oldest first."""
    return sorted(run.checkpoints.glob("[0-9]*.pt"))


def load_latest(run: RunDir) -> dict[str, Any] | None:
    """What the newest whole checkpoint holds, or None before the first; as `newest_whole`."""
    found = newest_whole(run)
    return found[1] if found else None


def newest_whole(run: RunDir) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint, or None before the first. Damaged newer ones are named in the log, not used.

    Raises BadInput where there are checkpoints and none of them is whole.
    """
    damage: list[str] = []
    for path in reversed(list_checkpoints(run)):
        try:
            document = load_checkpoint(path)
        except BadInput as error:
            damage.append(str(error))
            continue
        for message in damage:
            log.warning("passing over a checkpoint: %s\n  using %s", message, path)
        return path, document
    if damage:
        raise BadInput(
            "no checkpoint of the run is whole",
            where=run.checkpoints,
            got=f"{len(damage)} damaged; the newest: {damage[0]}",
            todo="restore one from a backup, or start another run with --run",
        )
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as plain tensors and numbers. Raises BadInput where it is missing, damaged or foreign."""
    try:
        check_sums(path)
        document: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BadInput(
            "no such checkpoint", path, "no file", "a run's folder, a .pt file in it, or weights:NAME"
        ) from error
    # A damaged zip archive of pickled tensors can fail in any of its layers.
    except Exception as error:
        raise BadInput(
            "a damaged checkpoint",
            where=path,
            got=f"{path.stat().st_size:,} bytes that cannot be read ({str(error).splitlines()[0]})",
            wanted="a whole checkpoint",
            todo="name an older one of the run, or restore it from a backup",
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadInput("not a checkpoint of this project", path, "another kind of file", FORMAT, "name a run's folder")
    return document


def check_sums(path: Path) -> None:
    """Compare the archive's CRC-32 of every tensor: torch.load itself lets flipped bits pass."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"checksum of {damaged} is wrong")
