"""What W&B gets besides numbers: histograms, an alert, and artifacts that tie a denoiser to its data."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from launch.checkpoint import BEST, load_checkpoint
from pipeline.shard_files import ShardFiles

BINS = 64


def histograms(net: nn.Module) -> dict[str, Any]:
    """Of every weight and its last gradient: (counts, edges) by name. Waits for the device, so rarely to be called."""
    found: dict[str, Any] = {}
    for name, parameter in net.named_parameters():
        found[f"weights/{name}"] = histogram(parameter.detach())
        if parameter.grad is not None:
            found[f"gradients/{name}"] = histogram(parameter.grad)
    return found


def histogram(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Counts of 64 equal bins between the least and the largest, and their edges; of finite values."""
    numbers = values.float().cpu().numpy().ravel()
    return np.histogram(numbers[np.isfinite(numbers)], BINS)


def data_artifact(files: ShardFiles, samples_sha256: str, full: bool) -> Any:
    """The training set by its hash; with its index where all is to be kept."""
    import wandb

    facts = {"samples_sha256": samples_sha256, "folder": files.origin}
    artifact = wandb.Artifact(f"data-{samples_sha256[:16]}", type="dataset", metadata=facts)
    index = files.folder / "index.json"
    if full and index.exists():
        artifact.add_file(str(index))
    return artifact


def best_artifact(checkpoints: Path, run_id: str, full: bool) -> Any:
    """The best checkpoint by its hash, score and data; with the file where all is to be kept. None without one."""
    import wandb

    path = checkpoints / BEST
    if not path.exists():
        return None
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    document = load_checkpoint(path)
    names = ("images", "val_metric", "val_error", "data_sha256")
    facts: dict[str, Any] = {name: document[name] for name in names if name in document}
    artifact = wandb.Artifact(f"best-{run_id}", type="model", metadata=facts | {"sha256": sha256})
    if full:
        artifact.add_file(str(path))
    return artifact
