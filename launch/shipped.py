"""The weights that come with the project: by name, checked against their sums."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import BadInput

PREFIX = "weights:"
SHIPPED = Path(__file__).parent / "shipped_weights"
LIST = "index.json"
WEIGHTS_HELP = "weights that come with the project, as `n2n models` lists them"


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """What is known of weights without opening them."""

    name: str
    bytes: int
    sha256: str
    network: str
    corruption: str
    noise: str
    """The corruption and its strengths in training."""
    images: int
    """Training samples consumed."""
    target: str
    licence: str
    leaves_gain_db: float
    """What they gain on a generated picture (`launch.exporting.shipping`), so that any machine can check them."""
    results: list[dict[str, Any]] = field(default_factory=list)
    """`pictures`, `count`, `noise`, `noisy_db`, `denoised_db` and `ssim` of each evaluation."""


def shipped(folder: Path = SHIPPED) -> dict[str, Shipped]:
    """All that there are, by name. Raises BadInput where the list is damaged."""
    path = folder / LIST
    try:
        return {entry["name"]: Shipped(**entry) for entry in json.loads(path.read_bytes())["weights"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}", "a list of weights") from error


def located(name: str | Path, folder: Path = SHIPPED) -> Path:
    """Where a run, a checkpoint or weights are: `weights:NAME`, or NAME where nothing else is called so.

    Raises BadInput for a name that is not listed, and for a file that is not what was listed.
    """
    text = str(name)
    if not text.startswith(PREFIX) and (Path(text).exists() or text not in shipped(folder)):
        return Path(text)
    known, wanted = shipped(folder), text.removeprefix(PREFIX)
    if wanted not in known:
        raise BadInput("no such weights", "weights", wanted, " or ".join(known) or "none are here", "see `n2n models`")
    path = folder / f"{wanted}.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise damaged(path, error.strerror or str(error), f"{known[wanted].bytes:,} bytes") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != known[wanted].sha256:
        raise damaged(path, f"SHA-256 {digest[:16]}", known[wanted].sha256[:16])
    return path


def damaged(path: Path, got: str, wanted: str) -> BadInput:
    return BadInput("damaged weights", path, got, wanted, "install the project again")
