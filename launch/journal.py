"""What a folder of results already holds, so that a stopped run goes on where it was."""

import hashlib
import json
import os
from pathlib import Path

from pipeline.errors import disk_error

NAME = ".n2n-denoise.jsonl"


class Journal:
    """A line for every file that is done: whence, its size and time then, and what it was done with.

    Lines are added whole, by any number of processes. A last one cut short is no line.
    """

    def __init__(self, folder: Path, recipe: str) -> None:
        """`recipe` says everything else that a result depends on; results of another are made anew."""
        self.path = folder / NAME
        self.recipe = hashlib.sha256(recipe.encode()).hexdigest()[:16]
        self.lines: set[str] = set()
        if self.path.exists():
            self.lines = set(self.path.read_text(errors="replace").splitlines())

    def line(self, source: Path, target: Path) -> str:
        status = source.stat()
        entry = [target.name, str(source.resolve()), status.st_size, status.st_mtime_ns, self.recipe]
        return json.dumps(entry)

    def holds(self, source: Path, target: Path) -> bool:
        """Whether the target is there, made by this recipe from the source as it is now."""
        return target.exists() and self.line(source, target) in self.lines

    def add(self, source: Path, target: Path) -> None:
        try:
            with open(self.path, "ab", buffering=0) as file:
                file.write(self.line(source, target).encode() + b"\n")
                os.fsync(file.fileno())
        except OSError as error:
            raise disk_error(error, self.path) from error
