"""What is given as a source: folders, archives, patterns and addresses, each once, and told apart by a label."""

import glob
import os
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.remote.place import Place, Remote, place, real


def expand(argument: str | Path) -> list[Place]:
    path = place(argument)
    if not glob.has_magic(str(argument)) or path.exists():
        return [path]
    if isinstance(path, Remote):
        found: list[Place] = [*sorted(path.glob(), key=lambda fit: os.fsencode(fit.url))]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(argument), recursive=True), key=os.fsencode)]
    if not found:
        raise BadInput("nothing fits the pattern", argument, "no file", "folders, pictures or archives", "check it")
    return found


def refuse_repeated(roots: list[Place]) -> None:
    seen: dict[Place, Place] = {}
    for root in roots:
        resolved = real(root)
        if resolved in seen:
            raise BadInput("a source is given twice", root, f"{seen[resolved]} before it", "every source once")
        seen[resolved] = root


def labels(roots: list[Place]) -> list[str]:
    """For each of several sources the shortest end of its path that no other one has; for a single one nothing.

    So a set does not depend on where its sources are mounted, and equal names in two of them stay apart.
    """
    if len(roots) == 1:
        return [""]
    parts = [real(root).parts[1:] for root in roots]
    longest = max(len(path) for path in parts)
    for length in range(1, longest + 1):
        ends = ["/".join(path[-length:]) for path in parts]
        if len(set(ends)) == len(ends):
            return ends
    return [str(real(root)) for root in roots]
