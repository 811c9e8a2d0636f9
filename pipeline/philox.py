"""Random numbers by counting: each is a function of (seed, draw, call, place) alone, on any device.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", in tensor
operations. A device's own generator will not do: what torch draws on a GPU depends on its number of multiprocessors.
"""

from collections.abc import Sequence
from math import pi, prod

import numpy as np
import torch
from torch import Tensor

from pipeline.randomness import key

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
WORD = 0xFFFFFFFF
STREAM = 0x7068696C  # of the key: no seed's numbers are those of its other generators
ATTEMPT = 1 << 16  # calls before one would meet the next attempt of the first

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox4x32(counter: Sequence[Tensor], keys: tuple[int, int]) -> Words:
    """Four words of 32 bits, in int64, for every counter of four such words; broadcast against each other."""
    c0, c1, c2, c3 = counter
    k0, k1 = keys
    for _ in range(ROUNDS):
        # The product of two words has 64 bits. It wraps into the sign, and its bits are the right ones nonetheless.
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = ((p1 >> 32) ^ c1 ^ k0) & WORD, p1 & WORD
        c2, c3 = ((p0 >> 32) ^ c3 ^ k1) & WORD, p0 & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


class Philox:
    """The generators of several draws at once, (N, ...) numbers at a time. Each call takes new ones.

    The counter is (place, call and attempt, draw's low and high word): no two numbers of a run share one, and none
    depends on which other draws are in the batch.
    """

    def __init__(self, seed: int, draws: Tensor) -> None:
        """`draws` is (N,), int64, on the device that the numbers are wanted on."""
        both = key(seed, STREAM)
        self.keys = both & WORD, both >> 32
        self.draws = draws
        self.calls = 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal, float32, by Box and Muller 1958; within 1e-5 of exact arithmetic, and below 6.8."""
        w0, w1, w2, w3 = self._blocks(shape)
        return self._shaped([*box_muller(w0, w1), *box_muller(w2, w3)], shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform in [0, 1), float32, multiples of 2**-24."""
        return self._shaped([(word >> 8).float() * 2**-24 for word in self._blocks(shape)], shape)

    def share(self) -> Tensor:
        """One number a draw, (N, 1, 1, 1), uniform in [0, 1), float64."""
        high, low, _, _ = self._blocks((len(self.draws), 1))
        return fraction(high, low).view(-1, 1, 1, 1)

    def call(self) -> int:
        """The number of a new call, for `at`."""
        self.calls += 1
        return self.calls - 1

    def at(self, place: Tensor, picture: Tensor, call: int, attempt: int = 0) -> Words:
        """The four words of single places of single pictures, both int64."""
        draw = self.draws[picture]
        return philox4x32((place, torch.full_like(place, call + ATTEMPT * attempt), draw & WORD, draw >> 32), self.keys)

    def _blocks(self, shape: Sequence[int]) -> Words:
        """(N, ceil(numbers of a picture / 4)) of each word."""
        if shape[0] != len(self.draws):
            raise ValueError(f"numbers of shape {tuple(shape)} for {len(self.draws)} draws")
        place = torch.arange(-(-prod(shape[1:]) // 4), device=self.draws.device)
        draw = self.draws[:, None]
        return philox4x32((place, torch.full_like(place, self.call()), draw & WORD, draw >> 32), self.keys)

    def _shaped(self, columns: list[Tensor], shape: Sequence[int]) -> Tensor:
        """Numbers of four columns as the first of (N, ...): a smaller shape has the beginning of a larger one's."""
        numbers = torch.stack(columns, -1).flatten(1)
        return numbers[:, : prod(shape[1:])].reshape(tuple(shape))


def fraction(high: Tensor, low: Tensor) -> Tensor:
    """Two words as one number in [0, 1) of 53 bits, float64."""
    return ((high >> 5) * (1 << 26) + (low >> 6)).double() * 2**-53


def box_muller(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normal numbers from two words, float32."""
    radius, angle = (first.float() + 0.5) * 2**-32, second.float() * (2 * pi * 2**-32)
    if radius.device.type != "cpu":
        radius = torch.sqrt(-2 * torch.log(radius))
        return radius * torch.cos(angle), radius * torch.sin(angle)
    # By numpy, whose functions of a number do not depend on where in an array it stands; torch's do, in the last bit.
    length, turn = np.sqrt(np.float32(-2) * np.log(radius.numpy())), angle.numpy()
    return torch.from_numpy(length * np.cos(turn)), torch.from_numpy(length * np.sin(turn))
