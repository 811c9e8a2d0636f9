"""When things happen: the learning rate as a function of images, and intervals of time."""

import math
import time

from launch.optimizer import OptimConfig


class Rhythm:
    """How often something happens: after so many images, so many minutes, or both; 0 is never."""

    def __init__(self, images: int, minutes: float) -> None:
        self.images = images
        self.seconds = 60 * minutes
        self.restart()

    def restart(self) -> None:
        """Let the minutes begin anew."""
        self.began = time.monotonic()

    def images_passed(self, images: int, batch: int) -> bool:
        """Whether the step that ended at `images` crossed a multiple."""
        return self.images > 0 and images // self.images > (images - batch) // self.images

    def minutes_passed(self) -> bool:
        """Whether the time is over; if so, once, as it begins anew."""
        over = 0 < self.seconds <= time.monotonic() - self.began
        if over:
            self.restart()
        return over


def learning_rate(config: OptimConfig, images: int, total: int) -> float:
    """Constant, then down to zero along a squared raised cosine over the last `ramp_down` of `total` images.

    lr * (0.5 + 0.5 cos(pi t))^2, t from 0 to 1: the ramp-down published with Lehtinen et al. 2018.
    """
    start = total * (1 - config.ramp_down)
    if images < start or config.ramp_down == 0:
        return config.lr
    t = min(1.0, (images - start) / (total - start))
    return float(config.lr * (0.5 + 0.5 * math.cos(math.pi * t)) ** 2)
