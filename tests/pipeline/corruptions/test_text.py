"""Text: exact coverage of any share and size, evenly spread; the median; bounded work."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator

from pipeline.corruptions import text as module
from pipeline.corruptions.glyphs import CHARACTERS, FONT, glyphs
from pipeline.corruptions.text import text


@pytest.mark.parametrize("p", [0.0, 0.04, 0.25, 0.5])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (64, 64), (256, 200)])
def test_coverage_is_reached_exactly(size: tuple[int, int], p: float, generator: Generator) -> None:
    clean = torch.full((3, *size), 2.0)  # no ink has this value
    noisy, covered = text(clean, p, generator)
    assert int(covered.sum()) == round(p * size[0] * size[1])
    assert torch.equal((noisy != clean).any(0), covered[0] == 1)


def covered_share(p: float, generator: Generator, pictures: int = 1500) -> torch.Tensor:
    clean = torch.zeros(3, 24, 24)
    return torch.stack([text(clean, p, generator)[1][0] for _ in range(pictures)])


def test_every_pixel_is_as_likely_to_be_covered(generator: Generator) -> None:
    """The median needs coverage below 1/2 at every pixel, borders too: none is more than five hundredths off."""
    covered = covered_share(0.25, generator)
    error = math.sqrt(0.25 * 0.75 / len(covered))
    assert (covered.mean(0) - 0.25).abs().max() < 0.05 + 5 * error


def test_the_spread_test_sees_a_bare_border(generator: Generator) -> None:
    """The twin that must fail."""
    covered = covered_share(0.25, generator)
    covered[:, :, 0] = 0
    assert (covered.mean(0) - 0.25).abs().max() > 0.05 + 5 * math.sqrt(0.25 * 0.75 / len(covered))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_the_median_is_clean_and_the_mean_is_not(level: float, generator: Generator) -> None:
    clean = torch.full((3, 64, 64), level)
    views = torch.stack([text(clean, 0.4, generator)[0] for _ in range(301)])
    assert (views.median(0).values == level).float().mean() > 0.995  # of 301 at 0.4, more than half by rare chance
    if level != 0.5:
        assert abs(float(views.mean()) - level) > 0.1


def inks(count: int, generator: Generator) -> torch.Tensor:
    """(count, 3) colours, one a string, from single strings on small pictures: what opaque ink was painted in."""
    found = []
    while len(found) < count:
        seed = int(torch.randint(2**31, (), generator=generator))
        black, white = (text(torch.full((3, 24, 24), level), 0.02, Generator().manual_seed(seed))[0]
                        for level in (0.0, 1.0))  # fmt: skip
        opaque = (white - black).abs().amax(0) < 1e-6
        found += list(black[:, opaque].T[:1])
    return torch.stack(found)


def test_colours_have_the_moments_of_their_law(generator: Generator, agree: Callable[..., bool]) -> None:
    """Uniform in [0, 1]^3: mean 1/2 and variance 1/12 a channel, channels independent."""
    colours = inks(1500, generator)
    assert agree(colours, 0.5, 1 / 12)
    assert not agree(0.9 * colours, 0.5, 1 / 12)  # the twin that must fail
    assert abs(float(torch.corrcoef(colours.T)[0, 1])) < 5 / math.sqrt(len(colours))


@pytest.mark.parametrize("level", [0.0, 1 / 255, 0.5, 254 / 255, 1.0])
def test_ink_draws_every_level_towards_grey_by_its_opacity(level: float) -> None:
    """Noisy = clean + opacity (colour - clean): over many views the mean is clean + E[opacity] (1/2 - clean)."""
    off, opacity = [], []
    for seed in range(1200):
        black, white, view = (text(torch.full((3, 16, 16), value), 0.3, Generator().manual_seed(seed))[0]
                              for value in (0.0, 1.0, level))  # fmt: skip
        opacity.append(float((1 - (white - black)).mean()))
        off.append(float((view - level).double().mean()))
    shares, drawn = torch.tensor(opacity).double(), torch.tensor(off).double()
    left = drawn - shares * (0.5 - level)
    assert abs(float(left.mean())) < 5 * float(left.std()) / math.sqrt(len(left))
    if level != 0.5:
        assert abs(float(drawn.mean())) > 5 * float(drawn.std()) / math.sqrt(len(drawn))  # the mean is not clean


def test_work_is_bounded_and_the_rest_is_dotted(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no string to spend, single pixels reach the coverage."""
    monkeypatch.setattr(module, "SPARE_STRINGS", 0)
    monkeypatch.setattr(module, "SPARE_PIXELS", 10**9)
    noisy, covered = text(torch.full((3, 30, 30), 2.0), 0.5, generator)
    assert int(covered.sum()) == 450
    assert 0 <= noisy[:, covered[0] == 1].min() <= noisy[:, covered[0] == 1].max() < 1


def test_a_batch_may_have_a_share_for_each(generator: Generator) -> None:
    generators = [Generator().manual_seed(seed) for seed in range(3)]
    shares = torch.tensor([0.0, 0.1, 0.5]).view(3, 1, 1, 1)
    _, covered = text(torch.zeros(3, 3, 20, 20), shares, generators)
    assert covered.sum((1, 2, 3)).tolist() == [0, 40, 200]


def test_the_font_ships_with_its_licence_and_has_every_character() -> None:
    assert "Bitstream" in (FONT.parent / "LICENSE").read_text()
    rendered = glyphs(16)
    assert len(rendered) == len(CHARACTERS)
    assert all(one.max() > 0.5 for one in rendered)
    assert len({one.tobytes() for one in rendered}) == len(CHARACTERS)
