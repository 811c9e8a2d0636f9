"""Weights & Biases as configured; never asks, never waits for a network that is not there."""

import logging
import netrc
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from PIL import Image
from torch import nn

from launch.tracked import best_artifact, data_artifact, histograms
from pipeline.shard_files import ShardFiles

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
INIT_TIMEOUT_S = 30.0  # by default W&B tries for 90 seconds
FLUSH_S = 1  # at most so many seconds of metrics are lost when a run is killed


@dataclass(frozen=True, kw_only=True)
class WandbConfig:
    """Tracking. metrics.jsonl in the run's folder has the same numbers in any mode."""

    mode: Literal["online", "offline", "off"] = "offline"
    """online falls back to offline by itself without a key or a network; `wandb sync` uploads an offline run."""
    project: str = "noise2noise"
    name: str = ""
    """Of the run; empty for the name of its folder."""
    group: str = ""
    histograms_every_images: int = 100_000
    """Histograms of weights and gradients after so many images; 0 for none."""
    histograms_every_minutes: float = 0.0
    """Also after so many minutes; 0 for none."""
    artifacts: Literal["off", "metadata", "full"] = "metadata"
    """The data and the best checkpoint as artifacts: their hashes and scores, or with the index and the checkpoint."""

    def __post_init__(self) -> None:
        for name in ("histograms_every_images", "histograms_every_minutes"):
            if getattr(self, name) < 0:
                raise ValueError(f"wandb.{name} is {getattr(self, name)}; wanted 0 or more")


class Tracker:
    """A W&B run, or nothing."""

    def __init__(self, config: WandbConfig, run_path: Path, run_config: dict[str, Any], run_id: str) -> None:
        self.id = run_id
        self.config = config
        self.run: Any = None
        if config.mode == "off":
            return
        self.id = run_id or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)  # an agent of a sweep names it
        self.run = start_run(config, run_path, run_config, self.id)
        # The clock is images. W&B's own step would drop what a resumed run logs again.
        self.run.define_metric("*", step_metric="images")

    def log(self, metrics: dict[str, Any]) -> None:
        if self.run is not None:
            self.run.log(metrics)

    def log_picture(self, images: int, name: str, picture: Image.Image) -> None:
        if self.run is not None:
            import wandb

            self.run.log({"images": images, name: wandb.Image(picture)})

    def log_histograms(self, images: int, net: nn.Module) -> None:
        if self.run is not None:
            import wandb

            found = {name: wandb.Histogram(np_histogram=pair) for name, pair in histograms(net).items()}
            self.run.log({"images": images, **found})

    def alert(self, title: str, text: str) -> None:
        """Tell those who have asked W&B for alerts that the run needs them."""
        if self.run is not None:
            self.run.alert(title, text, level="ERROR")

    def uses(self, files: ShardFiles, samples_sha256: str) -> None:
        """Note what the run is trained on; offline, where W&B refuses an input, as something it has met."""
        if self.run is not None and self.config.artifacts != "off":
            artifact = data_artifact(files, samples_sha256, self.config.artifacts == "full")
            (self.run.log_artifact if self.run.offline else self.run.use_artifact)(artifact)

    def keep_best(self, checkpoints: Path) -> None:
        """Note the best checkpoint as what the run has made."""
        if self.run is not None and self.config.artifacts != "off":
            artifact = best_artifact(checkpoints, self.id, self.config.artifacts == "full")
            if artifact is not None:
                self.run.log_artifact(artifact, aliases=["best"])

    def finish(self, exit_code: int = 0) -> None:
        if self.run is not None:
            self.run.finish(exit_code=exit_code)


def start_run(config: WandbConfig, run_path: Path, run_config: dict[str, Any], run_id: str) -> Any:
    """Start or resume a W&B run; offline where the server does not answer in time."""
    import wandb

    def init(mode: Literal["online", "offline"]) -> Any:
        return wandb.init(
            mode=mode,
            project=config.project,
            name=config.name or run_path.name,
            group=config.group or None,
            dir=run_path,
            id=run_id,
            resume="allow",
            config=run_config,
            allow_val_change=True,
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=INIT_TIMEOUT_S,
                x_transaction_log_flush_interval=FLUSH_S,
                git_root=str(Path(__file__).parent),  # the commit of this code, wherever it is started
            ),
        )

    mode = usable_mode(config.mode)
    try:
        return init(mode)
    except wandb.Error as error:
        if mode == "offline":
            raise
        log.warning("W&B: %s, so this run is tracked offline", error)
        wandb.teardown()  # its service still holds the run id of the failed start
        return init("offline")


def usable_mode(mode: str) -> Literal["online", "offline"]:
    """`online` where a key and the server are at hand, else `offline` with the reason in the log."""
    if mode == "offline":
        return "offline"
    host, port = server_address()
    if not has_key(host):
        log.warning("W&B: no key (set WANDB_API_KEY, or run `wandb login`), so this run is tracked offline")
        return "offline"
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        log.warning("W&B: %s cannot be reached (%s), so this run is tracked offline", host, error)
        return "offline"
    return "online"


def server_address() -> tuple[str, int]:
    """Host and port of the W&B server that the environment and W&B's own settings name."""
    import wandb

    address = urlsplit(wandb.setup().settings.base_url)
    return address.hostname or "", address.port or (80 if address.scheme == "http" else 443)


def has_key(host: str) -> bool:
    """Whether W&B would find a key without asking: in the environment or in ~/.netrc, as `wandb login` leaves it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
