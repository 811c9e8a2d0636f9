"""What a run tells: rank 0's console, metrics.jsonl and W&B, all with the same numbers."""

import logging
import sys
import time
from statistics import fmean
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from launch.memory import peak_memory_gb
from launch.run_dir import RunDir
from launch.tracking import Tracker
from launch.world import World
from pipeline.panel import save_png

log = logging.getLogger(__name__)


def talk(world: World) -> None:
    """Let rank 0 log to the console, through the progress bar; the others keep silent but for errors."""
    logging.basicConfig(
        level=logging.INFO if world.first else logging.ERROR,
        format="%(message)s",
        handlers=[BarHandler()],
        force=True,
    )


class BarHandler(logging.Handler):
    """Writes a line above the progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class Report:
    """Gathers the numbers of steps on every rank; rank 0, which has the tracker, gives them out once an interval."""

    def __init__(self, world: World, run: RunDir, tracker: Tracker | None, *, start: int, total: int) -> None:
        self.world = world
        self.run = run
        self.tracker = tracker
        self.total = total
        self.reported = start
        # On a terminal one live line; in a log file the plain lines below are enough.
        self.bar = tqdm(total=total, initial=start, unit="img", disable=None if tracker else True, dynamic_ncols=True)
        self.losses: list[Tensor] = []
        self.waited_s = 0.0
        self.began = time.perf_counter()

    def step(self, images: int, *, loss: Tensor, lr: float, data_wait_s: float, ends: bool) -> None:
        """Take in a step that ended at `images`, and where it `ends` an interval, say what that was.

        `loss` stays on its device until then.
        """
        self.losses.append(loss)
        self.waited_s += data_wait_s
        self.bar.update(images - self.bar.n)
        if ends:
            self._interval(images, lr)

    def _interval(self, images: int, lr: float) -> None:
        seconds = time.perf_counter() - self.began
        # One transfer from the device and one exchange between ranks an interval, none a step.
        loss = fmean(self.world.gather(float(torch.stack(self.losses).mean())))
        rate = (images - self.reported) / seconds
        wait_ms, wait_share = 1000 * self.waited_s / len(self.losses), self.waited_s / seconds
        self.metrics(
            images,
            {
                "train/loss": loss,
                "train/lr": lr,
                "time/images_per_s": rate,
                "time/data_wait_s": self.waited_s,
                "time/data_wait_ms": wait_ms,
                "time/data_wait_share": wait_share,
                "memory/peak_gb": peak_memory_gb(self.world.device),
            },
        )
        if self.tracker:
            left_min = (self.total - images) / rate / 60
            log.info(
                "%9d images  loss %.5f  lr %.2e  %6.1f images/s  data wait %.1f ms, %.1f%% of a step  %5.1f min left",
                *(images, loss, lr, rate, wait_ms, 100 * wait_share, left_min),
            )
        self.losses, self.waited_s, self.reported = [], 0.0, images
        self.began = time.perf_counter()

    def metrics(self, images: int, values: dict[str, Any]) -> None:
        """Write numbers at a clock reading to metrics.jsonl and W&B."""
        if self.tracker:
            line = {"images": images, **values}
            self.run.append_metrics(line)
            self.tracker.log(line)

    def picture(self, images: int, name: str, picture: Image.Image) -> None:
        """Keep a picture of this clock reading in the run's folder and show it in W&B."""
        if self.tracker:
            save_png(picture, self.run.pictures / f"{images:012d}.png")
            self.tracker.log_picture(images, name, picture)

    def pause(self) -> None:
        """Restart the stopwatch after something that is no training, such as a validation."""
        self.began = time.perf_counter()

    def close(self) -> None:
        self.bar.close()
