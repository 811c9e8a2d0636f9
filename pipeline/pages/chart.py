"""Histograms as SVG that stands in a page: no script, no font, colours from the page's own style."""

from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 480, 120  # units of the drawing; the page stretches it
BINS = 48


def bars(title: str, values: NDArray[np.int64], unit: str = "") -> str:
    """How many samples have which value; bins of equal width, the count of the highest above."""
    low, high = int(values.min()), int(values.max())
    counts, _ = np.histogram(values, BINS, (low, max(high, low + 1)))
    peak, step = int(counts.max()), WIDTH / BINS
    tall = [count / peak * HEIGHT for count in counts]
    shapes = "".join(
        f'<rect x="{n * step:.1f}" y="{HEIGHT - tip:.1f}" width="{step - 1:.1f}" height="{tip:.1f}"/>'
        for n, tip in enumerate(tall)
        if tip
    )
    median = int(np.percentile(values, 50, method="lower"))  # as in the statistics of the index
    return figure(title, shapes, (f"{low:,}{unit}", f"median {median:,}{unit}", f"{high:,}{unit}"), f"{peak:,} at most")


def curves(title: str, counts: dict[str, NDArray[np.int64]], note: str) -> str:
    """How often each level occurs, one filled curve a channel, named by its class of the page's style."""
    # Clipped pictures have spikes at both ends that would press all else flat: the scale is of what lies between.
    top = max(1.0, *(float(channel[1:-1].max()) for channel in counts.values()))
    shapes = "".join(f'<path class="{escape(name)}" d="{outline(channel / top)}"/>' for name, channel in counts.items())
    return figure(title, shapes, ("0 (black)", "levels as encoded", "1 (white)"), note)


def outline(heights: NDArray[np.float64]) -> str:
    step = WIDTH / (len(heights) - 1)
    points = "".join(f"L{n * step:.1f} {HEIGHT * (1 - min(1.0, h)):.1f}" for n, h in enumerate(heights))
    return f"M0 {HEIGHT}{points}L{WIDTH} {HEIGHT}Z"


def figure(title: str, shapes: str, axis: tuple[str, str, str], note: str) -> str:
    marks = "".join(f"<span>{escape(mark)}</span>" for mark in axis)
    return (
        f"<figure><figcaption><b>{escape(title)}</b><span>{escape(note)}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(title)}">'
        f'{shapes}</svg><div class="axis">{marks}</div></figure>'
    )
