"""Statistics of a set, from counts of levels: exact sums, so that they do not depend on who counted what."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.picture import Pixels

LEVELS = 256  # 16-bit values are counted by their upper byte
CHANNELS = ("red", "green", "blue", "luminance")
PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)


@dataclass
class Levels:
    """How often each level occurs in red, green, blue and luminance, over some pictures of a set."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((4, LEVELS), np.int64))
    pictures: int = 0

    def add(self, pixels: Pixels) -> None:
        """Count a picture (C, H, W); a greyscale one counts in every channel."""
        if pixels.dtype == np.uint16:
            pixels = (pixels >> 8).astype(np.uint8)
        self.pictures += 1
        # Pillow counts bytes as they are, five times as fast as numpy, which makes integers of 64 bits of them first.
        planes = [Image.fromarray(plane) for plane in pixels]
        if len(planes) == 1:
            self.counts += np.array(planes[0].histogram())
            return
        image = Image.merge("RGB", planes)
        self.counts += np.array(image.histogram() + image.convert("L").histogram()).reshape(4, LEVELS)

    def merge(self, other: "Levels") -> None:
        if other.pictures:
            self.counts += other.counts
            self.pictures += other.pictures

    def summary(self) -> dict[str, Any]:
        """Means and variances per channel and percentiles of luminance, of values in [0, 1] as encoded."""
        values = (np.arange(LEVELS)) / (LEVELS - 1)
        total = max(1, int(self.counts[0].sum()))
        means = self.counts[:3] @ values / total
        variances = self.counts[:3] @ values**2 / total - means**2
        return {
            "measured_pictures": self.pictures,
            "mean_rgb": [round(float(mean), 6) for mean in means],
            "variance_rgb": [round(float(variance), 6) for variance in variances],
            "luminance_percentiles": percentiles_of_counts(self.counts[3]),
            # A line each in index.json: how often each level occurs, from 0 to 255.
            "level_counts": {
                name: " ".join(map(str, counts)) for name, counts in zip(CHANNELS, self.counts.tolist(), strict=True)
            },
        }


def counted_levels(statistics: dict[str, Any]) -> dict[str, NDArray[np.int64]]:
    """The counts of an index's statistics by channel; nothing where an earlier version made the set."""
    counts: dict[str, str] = statistics.get("level_counts", {})
    return {name: np.array(text.split(), np.int64) for name, text in counts.items()}


def percentiles_of_counts(counts: NDArray[np.int64]) -> dict[str, float]:
    total = int(counts.sum())
    if not total:
        return {}
    reached = np.cumsum(counts)
    places = [int(np.searchsorted(reached, max(1, total * p / 100))) for p in PERCENTILES]
    return {str(p): round(place / (LEVELS - 1), 6) for p, place in zip(PERCENTILES, places, strict=True)}


def describe_table(table: NDArray[np.void]) -> dict[str, Any]:
    """Sizes, channels and bytes of all samples."""
    heights, widths = table["height"].astype(np.int64), table["width"].astype(np.int64)
    channels, channel_counts = np.unique(table["channels"], return_counts=True)
    bits, bit_counts = np.unique(table["bits"], return_counts=True)
    return {
        "height": _spread(heights),
        "width": _spread(widths),
        "picture_bytes": {**_spread(table["size"]), "sum": int(table["size"].sum())},
        "pixels": int((heights * widths).sum()),
        "channels": {str(c): int(n) for c, n in zip(channels, channel_counts, strict=True)},
        "bits": {str(b): int(n) for b, n in zip(bits, bit_counts, strict=True)},
    }


def _spread(values: NDArray[Any]) -> dict[str, int]:
    marks = np.percentile(values, (5, 50, 95), method="lower")
    least, most = values.min(), values.max()
    names = ("min", "p5", "median", "p95", "max")
    return {name: int(value) for name, value in zip(names, (least, *marks, most), strict=True)}


def describe_scenes(scenes: NDArray[np.void], members: NDArray[np.void]) -> dict[str, Any]:
    """Sizes of all samples of a set of realisations, and which buffers they have how often and of which type."""
    counts, samples = np.unique(scenes["realisations"], return_counts=True)
    pixels = members[members["dtype"] != b""]
    kinds = np.unique(pixels[["buffer", "dtype", "channels"]], return_counts=True)
    return {
        "height": _spread(scenes["height"].astype(np.int64)),
        "width": _spread(scenes["width"].astype(np.int64)),
        "pixels": int((scenes["height"].astype(np.int64) * scenes["width"]).sum()),
        "realisations": {str(k): int(n) for k, n in zip(counts, samples, strict=True)},
        "references": int(scenes["reference"].sum()),
        "buffers": [
            {
                "buffer": name.decode(),
                "dtype": np.dtype(dtype.decode()).name,
                "channels": int(channels),
                "files": int(n),
            }
            for (name, dtype, channels), n in zip(*kinds, strict=True)
        ],
    }
