"""What two or more shots of the same thing say of each other, with standard errors: correlation, shift, brightness.

Shots are float64 (C, H, W), x_i = s + n_i: the same signal s, noise n_i of mean zero. Every sum is taken per block of
BLOCK x BLOCK pixels over all channels, and its standard error comes from how the blocks differ; so noise may be
correlated within a block (as demosaicing makes it) without any model of it. A ratio of sums R = sum(t) / sum(v) has
by linearisation the influence (t_B - R v_B) / sum(v) of block B, and the error sqrt(n / (n - 1) * sum(influence^2)).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]

BLOCK = 16
FINE = 8  # side of the blocks in which noise is looked for: flat ones are small
FLATTEST = 0.3  # share of these blocks, those with the least structure for their noise
LEAST_BLOCKS = 16
BLUR = 1.5  # standard deviation in pixels, before gradients are taken
GAIN = 0.1  # of normalised correlation, by which a shift by whole pixels must fit better than none,
FIT = 0.5  # ... and this is the least that it must reach: shots of nothing but noise fit anywhere
REACH = 32  # pixels, of that search


@dataclass(frozen=True)
class Measure:
    """An estimate and its standard error."""

    value: float
    error: float

    def beyond(self, limit: float, errors: float = 5.0) -> bool:
        """Larger than what matters, and than what chance explains."""
        return abs(self.value) > limit and abs(self.value) > errors * self.error


def blocks(values: Plane, side: int = BLOCK) -> Plane:
    """Means over blocks and channels, flattened; edges that fill no block are passed over."""
    channels, height, width = values.shape
    side = min(side, height, width)
    rows, columns = height // side, width // side
    cut = values[:, : rows * side, : columns * side]
    return cut.reshape(channels, rows, side, columns, side).mean(axis=(0, 2, 4)).ravel()


def ratio(top: Plane, bottom: Plane) -> Measure:
    """sum(top) / sum(bottom) over blocks, with the error of the text above."""
    total = float(bottom.sum())
    if total <= 0:
        return Measure(0.0, 0.0)
    value = float(top.sum()) / total
    return Measure(value, spread((top - value * bottom) / total))


def spread(influence: Plane) -> float:
    n = len(influence)
    return float(np.sqrt(n / (n - 1) * np.square(influence).sum())) if n > 1 else np.inf


def high_pass(shot: Plane) -> Plane:
    """The kernel [1 -2 1; -2 4 -2; 1 -2 1] / 6, deaf to planes and to straight edges along the axes.

    White noise keeps its variance. Source: Immerkaer 1996, Fast noise variance estimation, equation 2.
    """
    rows = shot[:, :-2] - 2 * shot[:, 1:-1] + shot[:, 2:]
    columns: Plane = (rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]) / 6
    return columns


def blur(shot: Plane) -> Plane:
    ramp = np.arange(-5, 6)
    taps = np.exp(-(ramp**2) / (2 * BLUR**2))
    for axis in (1, 2):
        padding = [(0, 0)] * 3
        padding[axis] = (5, 5)
        padded = np.pad(shot, padding, mode="symmetric")
        length = shot.shape[axis]
        shot = sum(t * np.take(padded, range(k, k + length), axis) for k, t in enumerate(taps / taps.sum()))
    return shot


def gradient(shot: Plane) -> tuple[Plane, Plane]:
    """Central differences of the blurred shot, zero at the edges."""
    smooth = blur(shot)
    rows, columns = np.zeros_like(smooth), np.zeros_like(smooth)
    rows[:, 1:-1] = (smooth[:, 2:] - smooth[:, :-2]) / 2
    columns[:, :, 1:-1] = (smooth[:, :, 2:] - smooth[:, :, :-2]) / 2
    return rows, columns


@dataclass(frozen=True)
class Correlation(Measure):
    """Of the noises of two shots."""

    unevenness: float
    """How much it differs from block to block, over what there is: noise gives 0.1 to 0.3, texture more than 0.5."""
    shared: float
    """Standard deviation of what is shared, over the mean level."""


def correlation(a: Plane, b: Plane) -> Correlation:
    """Correlation of the two noises, from high-pass residuals ra, rb; it sees what all shots share, such as a sensor's
    fixed pattern, which no difference of shots can.

    Per block, c = mean(ra rb) holds the shared noise and what passes the filter of the signal;
    v = mean((ra - rb)^2) / 2 holds only what is not shared: c = v r / (1 - r) + texture. Texture grows with the
    structure t, the noise-corrected energy of the blurred gradient, over v. So c / v is fitted with q + k t by least
    squares over the blocks with the least t, and r = q / (1 + q); its error is that of the intercept, over (1 + q)^2
    (White 1980: the sandwich estimator, which assumes nothing on the residuals' variances). Where texture is
    everywhere the line does not fit: the unevenness, standard deviation of the residuals over 1 + |q|, says so, and
    the value means little.
    """
    ra, rb = high_pass(a), high_pass(b)
    both, apart = blocks(ra * rb, FINE), blocks((ra - rb) ** 2, FINE) / 2
    level = float(np.abs(a + b).mean()) / 2
    if not apart.any() or level == 0:
        return Correlation(1.0 if both.any() else 0.0, 0.0, 0.0, 1.0 if both.any() else 0.0)
    apart = np.maximum(apart, 1e-6 * apart.mean())
    rows, columns = gradient((a + b) / 2)
    noise_rows, noise_columns = gradient((a - b) / 2)
    energy = (rows**2 + columns**2 - noise_rows**2 - noise_columns**2)[:, 1:-1, 1:-1]
    structure = blocks(energy, FINE) / apart
    count = min(len(structure), max(LEAST_BLOCKS, int(FLATTEST * len(structure))))
    flat = np.argsort(structure, kind="stable")[:count]
    y, x = (both / apart)[flat], np.stack([np.ones(count), structure[flat]], axis=1)
    inverse = np.linalg.pinv(x.T @ x)
    q, k = inverse @ x.T @ y
    residual = y - x @ (q, k)
    variance = (inverse @ (x.T * residual**2) @ x @ inverse)[0, 0] * count / max(1, count - 2)
    shared = float(np.sqrt(max(0.0, both[flat].mean()))) / level
    error = float(np.sqrt(variance)) / (1 + q) ** 2 if count > 2 else np.inf
    return Correlation(float(q / (1 + q)), error, float(residual.std() / (1 + abs(q))), shared)


def contrast(shots: Sequence[Plane]) -> Measure:
    """The largest difference in correlation between pairs of four or more shots, free of the signal.

    For disjoint pairs, cov(x_i - x_k, x_j - x_l) = c_ij - c_il - c_kj + c_kl whatever the signal is, and zero where
    no noises are correlated; over the variance of one noise, half the mean square of differences. It sees what only
    some pairs share (c_01 alone gives c_01 / variance) and is blind to what all share: there `correlation` serves.
    The means of the differences are taken out first: brightness has a measure of its own.
    """
    first = shots[:4]
    means = [float(shot.mean()) for shot in first]
    level = [shot - mean for shot, mean in zip(first, means, strict=True)]
    variance = np.mean([blocks((x - y) ** 2) / 2 for x, y in itertools.combinations(level, 2)], axis=0)
    found = []
    for i, j, k, m in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)):
        parts = (level[i] - level[k]) * (level[j] - level[m]) + (level[i] - level[m]) * (level[j] - level[k])
        found.append(ratio(blocks(parts) / 2, variance))
    return max(found, key=lambda measure: abs(measure.value))


def brightness(a: Plane, b: Plane) -> Measure:
    """How much brighter b is than a, as a share of their mean level: sum(b - a) / sum((a + b) / 2)."""
    return ratio(blocks(b - a), blocks((a + b) / 2))


def variance_ratio(a: Plane, b: Plane) -> Measure:
    """log2 of the variance of b's noise over that of a's, of the high-pass in the blocks with the least of it.

    log2(sum(rb^2) / sum(ra^2)) over the quarter of blocks by ra^2 + rb^2, which favours neither; the influence
    of a block is (rb^2 / B - ra^2 / A) / ln 2. Signal in these blocks draws the ratio towards one.
    """
    aa, bb = (blocks(high_pass(shot) ** 2) for shot in (a, b))
    least = np.argsort(aa + bb, kind="stable")[: max(1, len(aa) // 4)]
    aa, bb = aa[least], bb[least]
    if aa.sum() == 0 or bb.sum() == 0:
        return Measure(0.0, 0.0) if aa.sum() == bb.sum() else Measure(float(np.inf), 0.0)
    value = float(np.log2(bb.sum() / aa.sum()))
    return Measure(value, spread((bb / bb.sum() - aa / aa.sum()) / np.log(2)))


def neighbours(a: Plane, b: Plane) -> Measure:
    """The correlation of a shot's noise between pixels side by side: zero for a box filter, more after wider ones and
    after demosaicing.

    Of d = b - a without its mean, in which the signal is gone: sum(d(y, x) (d(y, x + 1) + d(y + 1, x)) / 2) / sum(d^2).
    """
    d = b - a - (b - a).mean()
    here = d[:, :-1, :-1]
    return ratio(blocks(here * (d[:, :-1, 1:] + d[:, 1:, :-1]) / 2), blocks(here**2))


def shift(a: Plane, b: Plane) -> Measure:
    """How far b lies from a in pixels, and the error of that length.

    Whole pixels first, by the peak of the normalised cross-correlation of the blurred shots where it fits clearly
    better than no shift; then least squares on b - a = -g t, g the gradient of their mean (Lucas and Kanade 1981,
    section 4): t = -G^-1 sum(g (b - a)). What noise adds to G = sum(g g^T) is the same in half the difference of the
    shots, and taken off. Influence of a block: -G^-1 (g_B (b - a)_B + G_B t).
    """
    whole = whole_pixels(a, b)
    a, b = overlap(a, b, whole)
    rows, columns = gradient((a + b) / 2)
    noise_rows, noise_columns = gradient((a - b) / 2)
    difference = blur(b - a)
    products = (
        (rows, rows, noise_rows, noise_rows),
        (rows, columns, noise_rows, noise_columns),
        (columns, columns, noise_columns, noise_columns),
    )
    matrix_blocks = [blocks(p * q - np_ * nq) for p, q, np_, nq in products]
    yy, yx, xx = (float(part.sum()) for part in matrix_blocks)
    matrix = np.array([[yy, yx], [yx, xx]])
    least = np.linalg.eigvalsh(matrix)[0]
    right = np.stack([blocks(rows * difference), blocks(columns * difference)])
    if least <= 0 or not np.isfinite(least):
        return Measure(float(np.hypot(*whole)), np.inf)  # nothing to see a shift by
    inverse = np.linalg.inv(matrix)
    t = -inverse @ right.sum(axis=1)
    moved = np.stack(
        [matrix_blocks[0] * t[0] + matrix_blocks[1] * t[1], matrix_blocks[1] * t[0] + matrix_blocks[2] * t[1]]
    )
    influence = -inverse @ (right + moved)
    length = float(np.hypot(*(np.asarray(whole) + t)))
    return Measure(length, float(np.hypot(spread(influence[0]), spread(influence[1]))))


def whole_pixels(a: Plane, b: Plane) -> tuple[int, int]:
    """Rows and columns by which b must be moved back onto a, (0, 0) unless something else fits clearly better."""
    x, y = (blur(shot).mean(axis=0) for shot in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    if scale == 0:
        return 0, 0
    fits = np.fft.irfft2(np.conj(np.fft.rfft2(x)) * np.fft.rfft2(y), x.shape) / scale
    reach = min(REACH, *(side // 4 for side in x.shape))
    near = np.roll(fits, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    if near[row, column] < max(FIT, near[reach, reach] + GAIN):
        return 0, 0
    return int(row) - reach, int(column) - reach


def overlap(a: Plane, b: Plane, whole: tuple[int, int]) -> tuple[Plane, Plane]:
    """The parts of a and b that show the same, b being moved by whole pixels."""
    for axis, by in enumerate(whole, 1):
        length = a.shape[axis] - abs(by)
        a = np.take(a, range(max(0, -by), max(0, -by) + length), axis)
        b = np.take(b, range(max(0, by), max(0, by) + length), axis)
    return a, b
