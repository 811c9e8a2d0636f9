"""What a folder of results already holds, so that a stopped run goes on where it was."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import disk_error

NAME = ".n2n-denoise.jsonl"


class Journal:
    """A line for every file that is done: of which files, their sizes and times then, and what it was done with.

    Lines are added whole, by any number of processes. A last one cut short is no line.
    """

    def __init__(self, folder: Path, recipe: str) -> None:
        """`recipe` says everything else that results depend on; results of another are made anew."""
        self.folder = folder
        self.path = folder / NAME
        self.recipe = hashlib.sha256(recipe.encode()).hexdigest()[:16]
        self.notes: dict[str, Any] = {}
        try:
            lines = self.path.read_text(errors="replace").splitlines() if self.path.exists() else []
        except OSError as error:
            raise disk_error(error, self.path) from error
        for line in lines:
            try:
                *entry, note = json.loads(line)
            except (ValueError, TypeError):
                continue
            self.notes[json.dumps(entry)] = note

    def entry(self, sources: Sequence[Path], target: Path) -> list[Any]:
        files = [[str(source.resolve()), *size_and_time(source)] for source in sources]
        return [target.name, files, self.recipe]

    def note(self, sources: Sequence[Path], target: Path) -> Any:
        """What was noted with the target; None where it is not there, or not made by this recipe of these sources."""
        return self.notes.get(json.dumps(self.entry(sources, target))) if target.exists() else None

    def holds(self, sources: Sequence[Path], target: Path, note: Any = None) -> bool:
        """Whether the target is there, made by this recipe and with this note from the sources as they are now."""
        entry = json.dumps(self.entry(sources, target))
        return target.exists() and entry in self.notes and bool(self.notes[entry] == note)

    def add(self, sources: Sequence[Path], target: Path, note: Any = None) -> None:
        """Raises BadInput where the line cannot be written."""
        try:
            with open(self.path, "ab", buffering=0) as file:
                file.write(json.dumps([*self.entry(sources, target), note]).encode() + b"\n")
                os.fsync(file.fileno())
        except OSError as error:
            raise disk_error(error, self.path) from error


def size_and_time(path: Path) -> tuple[int, int]:
    """What tells whether a file has changed; of one that has gone since it was listed, what no file has."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
