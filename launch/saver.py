"""Checkpoints written behind the training, from a snapshot: steps go on while the disk is busy."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch import Tensor

from launch.checkpoint import BEST, load_checkpoint, save_checkpoint, write_checkpoint
from launch.run_dir import RunDir
from launch.state import TrainConfig
from pipeline.errors import BadInput

BY_DEFAULT = ("unbiased_mse", "relative_mse", "psnr_srgb8_db")  # of real shots, renders, pictures
MORE_IS_BETTER = ("psnr", "ssim")
log = logging.getLogger(__name__)


class Saver:
    """Writes one checkpoint at a time; a second waits for the first, so that at most one snapshot is held."""

    def __init__(self, run: RunDir, config: TrainConfig) -> None:
        self.run = run
        self.config = config
        self.pool = ThreadPoolExecutor(1, "checkpoint")
        self.pending: Future[Any] | None = None
        self.best = best_so_far(run)

    def save(self, document: dict[str, Any]) -> None:
        """Write this state under its clock's name. Raises BadInput where the disk has refused the one before."""
        keep, every = self.config.keep_checkpoints, self.config.keep_every_images
        self._behind(save_checkpoint, self.run, snapshot(document), keep, every)

    def save_best(self, document: dict[str, Any], said: dict[str, float]) -> None:
        """Keep this state as best.pt, with its error as `val_error`, if that is less than any before.

        The error is the configured number of the validation, negative where more is better.
        """
        name = chosen_metric(self.config.best_metric, said)
        if name is None:
            return
        error = -said[name] if any(word in name for word in MORE_IS_BETTER) else said[name]
        if self.best is None or self.best[0] != name or error < self.best[1]:
            self.best = (name, error)
            best = snapshot({**document, "val_error": error, "val_metric": name})
            self._behind(write_checkpoint, self.run.checkpoints / BEST, best)

    def close(self) -> None:
        """Wait until everything is on the disk. Raises BadInput where it has refused."""
        self._wait()
        self.pool.shutdown()

    def _behind(self, write: Callable[..., object], *arguments: Any) -> None:
        self._wait()
        self.pending = self.pool.submit(write, *arguments)

    def _wait(self) -> None:
        pending, self.pending = self.pending, None
        if pending:
            pending.result()


def best_so_far(run: RunDir) -> tuple[str, float] | None:
    """By which number best.pt was the best, and its error; None where there is none, or it is damaged."""
    path = run.checkpoints / BEST
    if not path.exists():
        return None
    try:
        document = load_checkpoint(path)
    except BadInput as error:
        log.warning("the best checkpoint is left out: %s", error)
        return None
    return str(document.get("val_metric", "")), float(document["val_error"])


def chosen_metric(asked: str, said: dict[str, float]) -> str | None:
    """The validation's number by which checkpoints are compared; None where `auto` finds none.

    Raises BadInput where there is none of that name.
    """
    if asked == "auto":
        return next((name for name in BY_DEFAULT if name in said), None)
    if asked in said:
        return asked
    raise BadInput(
        "validation has no such number",
        where="train.best_metric",
        got=asked,
        wanted=f"auto, {', '.join(sorted(said))}",
        todo="run the same command again with one of these",
    )


def snapshot(value: Any) -> Any:
    """A copy in this computer's memory that training no longer changes."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: snapshot(inner) for name, inner in value.items()}
    return [snapshot(inner) for inner in value] if isinstance(value, list) else value
