"""The only place where a seed becomes random numbers: keyed permutations and generators, all pure functions."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch  # imported only where a generator is made: sharding needs none, and starts in a fifth of the time

Ints = NDArray[np.uint64]

ROUNDS = 6  # of the Feistel network; four already make a pseudo-random permutation (Luby and Rackoff 1988)


def mix(x: Ints) -> Ints:
    """Scramble 64-bit words: the finaliser of splitmix64 (Steele, Lea and Flood 2014), a bijection."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def key(*parts: int) -> int:
    """One 64-bit key from several integers; changing any, or their order, changes it."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def permute(
    positions: NDArray[np.integer], count: int | NDArray[np.int64], permutation_key: int | Ints
) -> NDArray[np.int64]:
    """Where a keyed permutation of 0..count-1 sends each position, without storing the permutation.

    Every position may have a count and a key of its own. A balanced Feistel network over the next power of four,
    walked along its cycle back into the range: a position costs the same in a set of a hundred as in one of a
    billion, and no memory.
    """
    counts = np.asarray(count, dtype=np.uint64)
    bits = np.frexp((counts - np.uint64(1)).astype(np.float64))[1]  # of the last position: exact below 2^53
    half = np.maximum(1, (bits + 1) // 2).astype(np.uint64)
    mask = (np.uint64(1) << half) - np.uint64(1)
    first = np.asarray(permutation_key, dtype=np.uint64)
    round_keys = mix(np.add.outer(np.arange(1, ROUNDS + 1, dtype=np.uint64), first))
    result = np.array(positions, dtype=np.uint64, ndmin=1)
    outside = np.arange(len(result))

    def here(of: Ints) -> Ints:
        return of[outside] if of.ndim else of

    while len(outside):  # fewer than four turns on average, as the domain is at most four times the range
        left, right = result[outside] >> here(half), result[outside] & here(mask)
        for round_key in round_keys:
            left, right = right, left ^ (mix(right + here(round_key)) & here(mask))
        result[outside] = (left << here(half)) | right
        outside = outside[result[outside] >= here(counts)]
    return result.astype(np.int64)


def draw_generators(seed: int, draws: Sequence[int]) -> "list[torch.Generator]":
    """For each draw the generator of everything random about it, on the CPU.

    torch keeps only the low 32 bits of a CPU seed, so hashing (seed, draw) into it would give two draws the
    same noise about once in 65,000 draws (the birthday bound). A keyed permutation of 32 bits cannot:
    within a run the first 4,294,967,296 draws are all distinct, and further ones get another permutation.
    """
    blocks, positions = np.divmod(np.asarray(draws, dtype=np.int64), 1 << 32)
    seeds = np.empty_like(positions)
    for block in np.unique(blocks):
        here = blocks == block
        seeds[here] = permute(positions[here], 1 << 32, key(seed, int(block)))
    return [_generator(int(seed_32)) for seed_32 in seeds]


def name_generator(seed: int, name: str) -> "torch.Generator":
    """A generator keyed by a name: the test noise of a picture, equal in every run, machine and number of ranks."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=4).digest()
    return _generator(int.from_bytes(digest, "little"))


def _generator(seed_32: int) -> "torch.Generator":
    import torch

    generator = torch.Generator()
    generator.manual_seed(seed_32)
    return generator
