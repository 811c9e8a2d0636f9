"""Gaussian noise against its own moments, each with a twin that must fail."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.corruption import PER_UNIT, PUBLISHED_TEST, CorruptionConfig, clean_view, corrupt, shown, two_views
from pipeline.corruptions.camera import to_linear
from pipeline.corruptions.draws import Generators
from pipeline.corruptions.gaussian import gaussian
from pipeline.corruptions.registry import LAWS, Strengths, View
from pipeline.normals import fill

SIGMA = 25 / 255
N = 1_000_000
LEVELS = [0.0, 1 / 255, 0.5, 254 / 255, 1.0]


def moments_agree(noise: Tensor, sigma: float) -> bool:
    """Mean 0 and variance sigma^2 within five standard errors of a normal sample of this size."""
    n = noise.numel()
    mean_error = abs(float(noise.double().mean())) / (sigma / math.sqrt(n))
    variance_error = abs(float(noise.double().var()) / sigma**2 - 1) / math.sqrt(2 / n)
    return mean_error < 5 and variance_error < 5


@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_has_its_mean_and_variance(level: float, generator: torch.Generator) -> None:
    clean = torch.full((1, 1000, 1000), level)
    assert moments_agree(gaussian(clean, SIGMA, generator) - clean, SIGMA)


@pytest.mark.parametrize("level", LEVELS)
def test_the_moment_test_sees_one_per_cent_of_sigma(level: float, generator: torch.Generator) -> None:
    """The twin that must fail."""
    clean = torch.full((1, 1000, 1000), level)
    assert not moments_agree(gaussian(clean, SIGMA * 1.01, generator) - clean, SIGMA)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_moment_test_sees_clipping(level: float, generator: torch.Generator) -> None:
    """The twin that must fail: black and white are where clipping biases a target."""
    clean = torch.full((1, 1000, 1000), level)
    assert not moments_agree(gaussian(clean, SIGMA, generator).clamp(0, 1) - clean, SIGMA)


def test_the_moment_test_sees_quantisation_by_truncation(generator: torch.Generator) -> None:
    """The twin that must fail: 8-bit truncation darkens by half a level."""
    clean = torch.full((1, 1000, 1000), 0.5)
    noisy = (gaussian(clean, SIGMA, generator) * 255).floor() / 255
    assert not moments_agree(noisy - clean, SIGMA)


def test_strength_is_uniform_over_its_range(generator: torch.Generator) -> None:
    """sigma ~ U(0, 50): noise of mean square 2500 / 3 in 8-bit units, the floor of the training loss."""
    clean = torch.zeros(1, 64, 64)
    squares = torch.stack([corrupt(clean, CorruptionConfig(), generator).pixels.square().mean() for _ in range(4000)])
    error = squares.std() / math.sqrt(len(squares))
    assert abs(float(squares.mean()) - 2500 / 3 / 255**2) < 5 * float(error)
    assert abs(float(squares.mean()) - 0.95 * 2500 / 3 / 255**2) > 2 * float(error)


def test_a_fixed_strength_is_fixed(generator: torch.Generator) -> None:
    config = CorruptionConfig(sigma_255=25)
    noise = corrupt(torch.zeros(1, 1000, 1000), config, generator).pixels
    assert moments_agree(noise, SIGMA)


def test_noise_is_a_pure_function_of_its_generator() -> None:
    clean = torch.rand(3, 8, 8)
    kept = clean.clone()
    views = [gaussian(clean, 0.1, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*views)
    assert torch.equal(clean, kept)
    assert views[0].dtype == torch.float32


@pytest.mark.parametrize("sigma", [-1.0, (50.0, 25.0), (-1.0, 5.0)])
def test_an_impossible_strength_is_refused(sigma: float | tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="sigma_255"):
        CorruptionConfig(sigma_255=sigma)


def test_gaussian_pairs_written_out(generator: torch.Generator) -> None:
    """Strength, then the key of the noise, first of the source, then of the target, all from one generator."""
    clean, twin = torch.rand(3, 8, 8), torch.Generator().manual_seed(generator.initial_seed())
    for view in two_views(clean, CorruptionConfig(), generator):
        uniform = float(torch.rand((), generator=twin, dtype=torch.float64))
        noise = torch.empty(clean.shape)
        a, b, c = torch.empty(3, dtype=torch.int64).random_(generator=twin).tolist()
        fill(noise.numpy(), (a, b, c))
        assert torch.equal(view.pixels, clean + (50.0 * uniform) / 255 * noise)


@pytest.mark.parametrize("name", LAWS)
def test_a_batch_equals_its_pictures_one_by_one(name: str) -> None:
    config = CorruptionConfig(**{"name": name, **({"edge_p": (0.01, 0.2)} if name == "mri" else {})})
    clean = torch.rand(5, 3, 23, 17)
    together = two_views(clean, config, [torch.Generator().manual_seed(row) for row in range(5)])
    for row in range(5):
        alone = two_views(clean[row], config, torch.Generator().manual_seed(row))
        for batch, single in zip(together, alone, strict=True):
            assert torch.equal(batch.pixels[row], single.pixels)
            assert (batch.weight is None) == (single.weight is None) == ("masked mean" not in config.statistics)
            assert batch.weight is None or torch.equal(batch.weight[row], single.weight)
            assert (batch.measured is None) == (single.measured is None) == config.law.local
            assert batch.measured is None or torch.equal(batch.measured[row], single.measured)
            assert single.pixels.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(LAWS.keys() - {"none"}))
def test_source_and_target_noise_are_independent(name: str) -> None:
    """At the test strength, of one clean picture: any correlation of the views is one of their noises."""
    config = PUBLISHED_TEST[name]
    generators = [torch.Generator().manual_seed(seed) for seed in range(3000)]
    clean = 0.2 + 0.2 * torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(9))
    source, target = two_views(clean.expand(3000, 3, 8, 8), config, generators)
    for pixel in ((0, 0, 0), (1, 4, 5)):
        views = torch.stack([view.pixels[:, *pixel] for view in (source, target)])
        assert abs(float(torch.corrcoef(views)[0, 1])) < 5 / math.sqrt(3000)
        leaked = torch.stack([views[0], views[1] + 0.2 * views[0]])  # the twin that must be seen
        assert abs(float(torch.corrcoef(leaked)[0, 1])) > 5 / math.sqrt(3000)


def test_impulse_pairs_share_their_strength_and_others_do_not() -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in range(50)]
    clean = torch.full((50, 3, 32, 32), 2.0)
    for name, shared in (("impulse", True), ("text", False)):
        views = two_views(clean, CorruptionConfig(name=name), generators)  # type: ignore[arg-type]
        shares = torch.stack([(view.pixels != 2).float().mean((1, 2, 3)) for view in views])
        assert bool(((shares[0] - shares[1]).abs() < 0.09).all()) == shared


def drawn_strengths(name: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Strengths, Strengths]]:
    """What reaches the law of source and target, of 2,000 pairs."""
    seen: list[Strengths] = []
    law = LAWS[name]

    def record(clean: Tensor, strengths: Strengths, _generators: Generators) -> View:
        seen.append(strengths)
        return View(clean)

    monkeypatch.setitem(LAWS, name, replace(law, view=record))
    for seed in range(2000):
        two_views(torch.zeros(3, 1, 1), CorruptionConfig(name=name), torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    return list(zip(seen[::2], seen[1::2], strict=True))


@pytest.mark.parametrize("name", [name for name in LAWS if name not in ("brown", "mri")])
def test_strengths_are_drawn_from_their_range_per_view_or_per_pair(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the paper has it: a pair shares the impulses' alone. Uniform, of cameras in stops; five standard errors."""
    pairs = drawn_strengths(name, monkeypatch)
    for option, rule in CorruptionConfig(name=name).law.options.items():  # type: ignore[arg-type]
        if rule.test is None:
            continue
        low, high = CorruptionConfig(name=name).numbers[option]  # type: ignore[arg-type, misc]
        unit = PER_UNIT.get(option, 1.0)
        values = torch.tensor([[unit * float(view[option]) for view in pair] for pair in pairs])
        shares = (values / low).log() / math.log(high / low) if rule.stops else (values - low) / (high - low)
        assert shares.min() >= -1e-6
        assert shares.max() <= 1 + 1e-6
        assert abs(float(shares.mean()) - 0.5) < 5 / math.sqrt(12 * len(pairs))
        assert abs(float(shares.square().mean()) - 1 / 3) < 5 * math.sqrt(4 / 45 / len(pairs))
        assert abs(float((0.8 * shares).mean()) - 0.5) > 5 / math.sqrt(12 * len(pairs))  # another range would be seen
        equal = (values[:, 0] == values[:, 1]).all()
        assert bool(equal) == (name == "impulse")
        assert equal or abs(float(torch.corrcoef(values.T)[0, 1])) < 5 / math.sqrt(len(pairs))


def test_camera_targets_are_linear_and_its_sources_are_not() -> None:
    config = CorruptionConfig(name="camera", electrons=1e6, read_noise_e=0)
    clean = torch.full((3, 16, 16), 0.5)
    source, target = two_views(clean, config, torch.Generator().manual_seed(0))
    assert abs(float(target.pixels.mean()) - 0.2140) < 1e-3
    assert abs(float(shown(source, config).mean()) - 0.5) < 1e-3
    assert torch.equal(clean_view(clean, config).pixels, to_linear(clean))


@pytest.mark.parametrize("level", LEVELS)
def test_camera_with_text_has_the_moments_of_the_camera_where_there_is_no_ink(
    level: float, agree: Callable[..., bool]
) -> None:
    config = CorruptionConfig(name="camera_text", electrons=400, p=0.25)
    generators = [torch.Generator().manual_seed(seed) for seed in range(100)]
    _, view = two_views(torch.full((100, 3, 32, 32), level), config, generators)
    assert view.weight is not None
    free = view.pixels[view.weight.expand_as(view.pixels) == 1]
    assert len(free) == 100 * 3 * 768
    linear = float(to_linear(torch.tensor([level])))
    assert agree(free, linear, linear / 400 + (2 / 400) ** 2)
    assert not agree(free, linear, linear / 380 + (2 / 380) ** 2)  # the twin that must fail
    assert not agree(view.pixels, linear, linear / 400 + (2 / 400) ** 2)  # what the mask is for


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "poisson", "photons": (0.0, 50.0)}, "photons"),
        ({"name": "poisson", "sigma_255": 25.0}, "poisson has no such option"),
        ({"name": "bernoulli", "p": 1.0}, "p is 1.0"),
        ({"name": "text", "p": (0.0, 0.6)}, "0.5"),
        ({"name": "brown", "bandwidth_px": -1.0}, "bandwidth_px"),
        ({"name": "camera", "electrons": 0.0}, "electrons"),
        ({"name": "gaussian", "sensor": "phone"}, "gaussian has no such option"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorruptionConfig(**options)  # type: ignore[arg-type]


def test_sensors_are_presets_that_give_way() -> None:
    assert CorruptionConfig(name="camera", sensor="full_frame").settled().electrons == (120.0, 7500.0)
    mine = CorruptionConfig(name="camera", sensor="full_frame", electrons=90.0).settled()
    assert (mine.electrons, mine.read_noise_e) == (90.0, 3.0)


def test_published_test_strengths() -> None:
    """Lehtinen et al. 2018, section 3 and table 1; of mri the published code's; cameras are not in the paper."""
    assert PUBLISHED_TEST["mri"].edge_p == 0.025
    assert PUBLISHED_TEST["camera"].electrons == PUBLISHED_TEST["camera_text"].electrons == 400
    assert PUBLISHED_TEST["gaussian"].sigma_255 == PUBLISHED_TEST["brown"].sigma_255 == 25
    assert PUBLISHED_TEST["poisson"].photons == 30
    assert {name: PUBLISHED_TEST[name].p for name in ("bernoulli", "impulse", "text")} == {
        "bernoulli": 0.5,
        "impulse": 0.7,
        "text": 0.25,
    }


def test_strengths_of_their_own_under_one_generator_and_any_precision() -> None:
    """(N, 1, 1, 1) strengths, one for all, and clean pixels that are no float32, are as they were scaled apart."""
    clean, each = torch.rand(3, 3, 8, 8), torch.tensor([0.1, 0.0, 0.3]).view(3, 1, 1, 1)
    made = [gaussian(pixels, each, torch.Generator().manual_seed(1)) for pixels in (clean, clean.double())]
    numbers = gaussian(torch.zeros(3, 3, 8, 8), 1.0, torch.Generator().manual_seed(1))
    assert all(torch.equal(noisy.float(), numbers * each + clean) for noisy in made)
    ones = [torch.Generator().manual_seed(seed) for seed in range(3)]
    alike = gaussian(clean.double(), torch.full((1, 1, 1, 1), 0.2), ones)
    assert alike.dtype == torch.float32
    assert torch.equal(alike, gaussian(clean, 0.2, [torch.Generator().manual_seed(seed) for seed in range(3)]))
