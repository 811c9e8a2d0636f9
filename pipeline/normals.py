"""Standard normal numbers on the CPU, of which every bit is fixed here: by no library, processor or compiler.

By the method of Box and Muller 1958, from words of SFC64 (Doty-Humphrey 2014; numpy's generator of that name).
Logarithm, sine and cosine are the polynomials of Cephes (Moshier 1992), and so nothing but additions, multiplications
and square roots, which IEEE 754 rounds in one way. core.c has the same, many times as fast. torch's own normal numbers
take three times as long as those, and are other ones on a processor with other instructions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import SFC64
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from pipeline.compiled import core

Floats = NDArray[np.float32]
Key = tuple[int, int, int]
"""Three words of up to 64 bits: where SFC64 begins."""

LANES = 4  # generators that take turns, word by word
BLOCK = 128  # pairs of numbers: their lengths come from so many words of 32 bits, their angles from the next
CHUNK = 128 * BLOCK  # pairs that numpy works on at a time, in a core's cache
WORD = (1 << 64) - 1
SIGN = np.uint32(1 << 31)
HALF = np.float32(0.5)


def fill(out: Floats, key: Key, scale: float = 1.0, around: Floats | None = None) -> None:
    """Fill `out` with numbers of standard deviation `scale` around 0 or `around`, of its shape; both contiguous.

    Within 2e-6 of exact arithmetic on the words, and below 6.7. Scaling rounds once, and adding once, as apart. Raises
    ValueError where `out` is not contiguous float32.
    """
    if out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"{out.dtype} {out.shape} to be filled; wanted contiguous float32")
    if core:
        core.normal(out, around, scale, *key)
    else:
        fill_by_numpy(out, key, scale, around)


def fill_by_numpy(out: Floats, key: Key, scale: float = 1.0, around: Floats | None = None) -> None:
    """The same without the compiled core."""
    flat, lanes = out.reshape(-1), [_lane(key, lane) for lane in range(LANES)]
    for start in range(0, flat.size, 2 * CHUNK):
        some = flat[start : start + 2 * CHUNK]
        blocks = -(-some.size // (2 * BLOCK))
        words = np.stack([lane.random_raw(blocks * BLOCK // LANES) for lane in lanes], 1).view(np.uint32)
        pairs = words.reshape(blocks, 2, BLOCK)
        some[:] = _box_muller(pairs[:, 0], pairs[:, 1]).reshape(-1)[: some.size]
        some *= np.float32(scale)
        if around is not None:
            some += around.reshape(-1)[start : start + 2 * CHUNK]


def _lane(key: Key, number: int) -> SFC64:
    return SFC64(_Words(key[0], key[1], key[2] + number))  # type: ignore[arg-type]  # numpy's stubs know not its own kind


class _Words(ISeedSequence):
    """Words that SFC64 is to begin with as they are; it begins to count at 1, and throws its first 12 words away."""

    def __init__(self, *words: int) -> None:
        self.words = np.array([word & WORD for word in words], np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        return self.words[:n_words].astype(dtype)


def _box_muller(lengths: NDArray[np.uint32], angles: NDArray[np.uint32]) -> Floats:
    """(blocks, BLOCK) words each -> (blocks, 2, BLOCK) numbers."""
    length = _minus_two_log(lengths)
    np.sqrt(length, out=length)
    # An eighth of a turn to either side; the two bits left mirror it at the diagonal, and at the origin.
    turn = ((angles << 2).view(np.int32) >> 2).astype(np.float32)
    turn *= _exactly("0x1.921fb6p-30")
    z = turn * turn
    sine = _polynomial(z, SINE)
    sine *= turn * z
    sine += turn
    cosine = _polynomial(z, COSINE)
    cosine *= z * z
    z *= HALF
    cosine += np.subtract(1, z, out=z)
    first, second = cosine.view(np.uint32), sine.view(np.uint32)
    mirrored = (first ^ second) & (0 - ((angles >> 30) & 1))
    mirrored ^= angles & SIGN
    first ^= mirrored
    second ^= mirrored
    pairs = np.empty((len(lengths), 2, lengths.shape[1]), np.float32)
    np.multiply(length, cosine, out=pairs[:, 0])
    np.multiply(length, sine, out=pairs[:, 1])
    return pairs


def _minus_two_log(words: NDArray[np.uint32]) -> Floats:
    """-2 ln u of u = (word / 2 + 0.5) / 2**31, as float32 has it."""
    u = (words >> 1).view(np.int32).astype(np.float32)
    u += HALF
    bits = u.view(np.int32)
    exponent = (bits - 0x3F3504F3) >> 23  # of the mantissa within [sqrt(1/2), sqrt(2))
    bits -= exponent << 23
    f = np.subtract(u, 1, out=u)
    e, z = (exponent - 31).astype(np.float32), f * f
    low = _polynomial(f, LOGARITHM)
    low *= f
    low *= z
    low += e * _exactly("-0x1.bd0106p-13")
    z *= HALF
    low -= z
    low += f
    e *= _exactly("0x1.63p-1")
    low += e
    low *= -2
    return low


def _polynomial(x: Floats, coefficients: Sequence[np.float32]) -> Floats:
    result = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        result += coefficient
        result *= x
    result += coefficients[-1]
    return result


def _exactly(hexadecimal: str) -> np.float32:
    return np.float32(float.fromhex(hexadecimal))


LOGARITHM = [
    *map(_exactly, ("0x1.204376p-4", "-0x1.d7a37p-4", "0x1.de4a34p-4", "-0x1.fcba9ep-4", "0x1.23d37ep-3")),
    *map(_exactly, ("-0x1.555cap-3", "0x1.999d58p-3", "-0x1.fffff8p-3", "0x1.555554p-2")),
]
SINE = [*map(_exactly, ("-0x1.9943f2p-13", "0x1.11073cp-7", "-0x1.555546p-3"))]
COSINE = [*map(_exactly, ("0x1.99eb9cp-16", "-0x1.6c0c34p-10", "0x1.55554ap-5"))]
