"""Numbers by counting: the published words, independence of the batch, and the distributions that they are to have."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.philox import Philox, box_muller, philox4x32

Agree = Callable[[Tensor, float, float], bool]
ONES = 0xFFFFFFFF

# Of the authors' own library, Random123, file kat_vectors: philox4x32, 10 rounds.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "keys", "words"), KNOWN)
def test_the_published_words(counter: tuple[int, ...], keys: tuple[int, int], words: tuple[int, ...]) -> None:
    found = philox4x32([torch.tensor([word]) for word in counter], keys)
    assert tuple(int(word) for word in found) == words


def test_the_words_are_those_of_an_independent_implementation() -> None:
    """numpy's has 4 words of 64 bits; so by plain integers, straight from the paper."""
    random = np.random.default_rng(0)
    for _ in range(50):
        c, k = random.integers(0, 1 << 32, 4).tolist(), random.integers(0, 1 << 32, 2).tolist()
        found = philox4x32([torch.tensor([word]) for word in c], (k[0], k[1]))
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b & ONES, (a >> 32) ^ c[3] ^ k[1], a & ONES]
            k = [(k[0] + 0x9E3779B9) & ONES, (k[1] + 0xBB67AE85) & ONES]
        assert [int(word) for word in found] == c


def drawn(draws: list[int], shape: tuple[int, ...], seed: int = 3) -> list[Tensor]:
    """Every kind of number, one call after the other."""
    philox = Philox(seed, torch.tensor(draws))
    whole = (len(draws), *shape)
    return [philox.normal(whole), philox.uniform(whole), philox.share(), philox.normal(whole)]


@pytest.mark.parametrize("shape", [(3, 7, 5), (1, 1, 1), (3, 64, 64)])
def test_a_draw_does_not_know_its_batch(shape: tuple[int, ...]) -> None:
    draws = [5, 0, 1 << 33, 77, 6, 2**40 + 1]
    whole = drawn(draws, shape)
    for row, draw in enumerate(draws):
        assert all(torch.equal(a[row], b[0]) for a, b in zip(whole, drawn([draw], shape), strict=True))
    backwards = drawn(draws[::-1], shape)
    assert all(torch.equal(a, b.flip(0)) for a, b in zip(whole, backwards, strict=True))


def test_seeds_draws_and_calls_have_numbers_of_their_own() -> None:
    first, other = drawn([1, 2, 1 + (1 << 32)], (100,)), drawn([1, 2, 1 + (1 << 32)], (100,), seed=4)
    rows = [*first[0], *first[3], *other[0], *other[3]]
    assert all(not torch.isin(a, b).any() for i, a in enumerate(rows) for b in rows[:i])


def test_normal_numbers_are_normal(agree: Agree) -> None:
    numbers = Philox(0, torch.arange(64)).normal((64, 3, 64, 64))
    assert agree(numbers, 0, 1)
    assert agree(numbers.square(), 1, 2)
    assert abs(float(numbers.pow(3).mean())) < 5 * (15 / numbers.numel()) ** 0.5
    neighbours = numbers.flatten(1)
    for distance in (1, 2, 3, 4):
        assert agree(neighbours[:, distance:] * neighbours[:, :-distance], 0, 1), "of one block and of the next"
    assert agree(numbers[1:] * numbers[:-1], 0, 1), "of neighbouring draws"
    for level, share in ((1.0, 0.158655), (2.0, 0.022750), (3.0, 0.001350)):
        assert agree((numbers > level).float(), share, share * (1 - share))


def test_the_twin_that_is_not_normal(agree: Agree) -> None:
    numbers = Philox(0, torch.arange(64)).uniform((64, 3, 64, 64))
    assert not agree((numbers - 0.5) * 12**0.5 * 1.01, 0, 1)
    assert not agree(((numbers - 0.5) * 12**0.5).square(), 1, 2)


def test_uniform_numbers_are_uniform(agree: Agree) -> None:
    numbers = Philox(1, torch.arange(64)).uniform((64, 3, 64, 64))
    assert float(numbers.min()) >= 0
    assert float(numbers.max()) < 1
    assert agree(numbers, 1 / 2, 1 / 12)
    assert agree(numbers.square(), 1 / 3, 4 / 45)
    assert agree(Philox(1, torch.arange(100_000)).share(), 1 / 2, 1 / 12)


def test_normal_numbers_are_as_exact_as_stated() -> None:
    words = torch.from_numpy(np.random.default_rng(0).integers(0, 1 << 32, (2, 1_000_000)))
    words[0, :3], words[1, :3] = torch.tensor([0, 1, ONES]), torch.tensor([0, ONES, 1])
    radius = torch.sqrt(-2 * torch.log(((words[0].float() + 0.5) * 2**-32).double()))
    angle = words[1].double() * (2 * torch.pi * 2**-32)
    for found, exact in zip(box_muller(*words), (radius * angle.cos(), radius * angle.sin()), strict=True):
        assert float((found - exact).abs().max()) < 1e-5
        assert float(found.abs().max()) < 6.8


def test_another_number_of_draws_is_refused() -> None:
    with pytest.raises(ValueError, match="for 3 draws"):
        Philox(0, torch.arange(3)).normal((4, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_has_the_same_bits() -> None:
    draws = torch.arange(1000, 1016)
    here, there = Philox(0, draws), Philox(0, draws.cuda())
    shape = (16, 3, 65, 67)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(here._blocks(shape), there._blocks(shape), strict=True))
    assert torch.equal(here.uniform(shape), there.uniform(shape).cpu())
    assert float((here.normal(shape) - there.normal(shape).cpu()).abs().max()) < 2e-5
