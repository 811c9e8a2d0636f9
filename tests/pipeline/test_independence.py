"""Each measure finds what was planted within five standard errors, and nothing where nothing was planted.

The false alarm rate of the verdict on these scenes of dead leaves is 0 of 10; docs/pairs.md has it for photographs.
"""

from functools import lru_cache

import numpy as np
import pytest

from pipeline.audit import AuditConfig, audit_scene, keep_good
from pipeline.dead_leaves import dead_leaves
from pipeline.independence import (
    Measure,
    Plane,
    brightness,
    contrast,
    correlation,
    high_pass,
    neighbours,
    shift,
    variance_ratio,
)

SIGMA = 0.08


@lru_cache
def scene(seed: int, size: int = 256) -> Plane:
    return dead_leaves(size, np.random.default_rng(seed)).transpose(2, 0, 1) / 255


def shots(seed: int, count: int = 2, *, shared: float = 0.0, sigma: float = SIGMA) -> list[Plane]:
    """Shots whose noises have the correlation `shared` with one another."""
    random, clean = np.random.default_rng(1000 + seed), scene(seed)
    common = random.normal(size=clean.shape)
    noises = (np.sqrt(shared) * common + np.sqrt(1 - shared) * random.normal(size=clean.shape) for _ in range(count))
    return [clean + sigma * noise for noise in noises]


def within(measure: Measure, truth: float, bias: float = 0.0) -> bool:
    return abs(measure.value - truth) < 5 * measure.error + bias


def test_white_noise_keeps_its_variance_in_the_high_pass() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 300, 300))
    assert high_pass(noise).var() == pytest.approx(1, abs=0.02)


def test_a_plane_does_not_pass() -> None:
    plane = np.linspace(0, 1, 50)[None, :, None] + np.linspace(0, 3, 60)[None, None]
    assert np.abs(high_pass(plane)).max() < 1e-12


@pytest.mark.parametrize("planted", [0.0, 0.15, 0.3, 0.6, 0.95])
def test_correlation(planted: float) -> None:
    measure = correlation(*shots(1, shared=planted))
    assert within(measure, planted, bias=0.02)
    assert measure.error < 0.05
    assert measure.unevenness < 0.35


def test_negative_correlation() -> None:
    clean, noise = scene(2), SIGMA * np.random.default_rng(0).normal(size=(3, 256, 256))
    a = clean + noise
    b = clean - 0.4 * noise + SIGMA * np.random.default_rng(1).normal(size=noise.shape)
    assert within(correlation(a, b), -0.4 / np.sqrt(1.16), bias=0.03)


def test_errors_of_the_correlation_are_honest() -> None:
    """Over 30 scenes of nothing but noise, the estimates scatter as their errors say."""
    random = np.random.default_rng(3)
    measures = [correlation(*(0.5 + 0.1 * random.normal(size=(2, 1, 128, 128)))) for _ in range(30)]
    scores = np.array([m.value / m.error for m in measures])
    assert 0.6 < scores.std() < 1.6
    assert abs(scores.mean()) < 5 / np.sqrt(30)


def test_contrast_finds_what_two_of_four_share() -> None:
    four = shots(4, 4)
    none = contrast(four)
    assert within(none, 0)
    noise = SIGMA * np.random.default_rng(9).normal(size=four[0].shape)
    pair = [four[0] + noise, four[1] + noise, *four[2:]]
    assert contrast(pair).beyond(0.1)


def test_contrast_is_blind_to_what_all_share() -> None:
    """As its docstring says; `correlation` is there for it."""
    four = shots(5, 4, shared=0.5)
    assert not contrast(four).beyond(0.1)
    assert correlation(*four[:2]).beyond(0.1)


@pytest.mark.parametrize("planted", [0.0, 0.05, -0.1])
def test_brightness(planted: float) -> None:
    a, b = shots(6)
    assert within(brightness(a, b + planted * b.mean()), planted / (1 + planted / 2))


@pytest.mark.parametrize("planted", [0.0, 1.0, -2.0])
def test_variance_ratio(planted: float) -> None:
    random = np.random.default_rng(7)
    noises = random.normal(size=(2, 3, 256, 256)) * SIGMA
    measure = variance_ratio(0.5 + noises[0], 0.5 + noises[1] * 2 ** (planted / 2))
    assert within(measure, planted, bias=0.15)  # blocks are chosen by the noise itself


@pytest.mark.parametrize("planted", [0.0, 0.1, 0.5])
def test_neighbours(planted: float) -> None:
    """Noise n + c n', n' being n one pixel aside, correlates by c / (1 + c^2) along rows and not along columns."""
    random, clean = np.random.default_rng(12), scene(12)
    noises = [n + planted * np.roll(n, 1, axis=2) for n in random.normal(size=(2, *clean.shape))]
    measure = neighbours(*(clean + 0.02 * noise for noise in noises))
    assert within(measure, planted / (1 + planted**2) / 2)
    assert measure.error < 0.01
    assert (measure.value > 5 * measure.error) == (planted > 0)


def moved(clean: Plane, by: float) -> Plane:
    """By whole or part pixels down, exactly as far as a band-limited picture can be; edges are to be cut."""
    phase = np.exp(-2j * np.pi * np.fft.fftfreq(clean.shape[1])[:, None] * by)
    return np.fft.ifft(np.fft.fft(clean, axis=1) * phase, axis=1).real


@pytest.mark.parametrize("planted", [0.0, 0.25, 1.0, 7.4])
def test_shift(planted: float) -> None:
    random, clean = np.random.default_rng(8), scene(8)
    a, b = (part[:, 16:-16] + SIGMA * random.normal(size=(3, 224, 256)) for part in (clean, moved(clean, planted)))
    measure = shift(a, b)
    assert measure.value == pytest.approx(planted, abs=0.05 + 0.2 * min(planted, 1))
    assert measure.beyond(0.1) == (planted > 0)


def test_nothing_to_see_a_shift_by_is_no_shift() -> None:
    random = np.random.default_rng(10)
    a, b = 0.5 + 0.1 * random.normal(size=(2, 3, 128, 128))
    assert not shift(a, b).beyond(0.1)


def test_no_false_alarm_on_independent_shots() -> None:
    config = AuditConfig()
    for seed in range(10):
        assert audit_scene(shots(seed, 2 + 2 * (seed % 2), sigma=0.02 + 0.016 * seed)).defects(config) == []


@pytest.mark.parametrize("defect", ["correlation", "brightness", "shift", "identical", "near-identical"])
def test_every_planted_defect_is_found(defect: str) -> None:
    """At the weakest strength that is promised: correlation 0.2, brightness 4 %, a quarter of a pixel."""
    for seed in range(2):
        a, b = shots(seed, shared={"correlation": 0.2, "near-identical": 0.97}.get(defect, 0))
        if defect == "brightness":
            b = b * 1.04
        if defect == "shift":
            clean = moved(scene(seed), 0.25)[:, 8:-8]
            a, b = a[:, 8:-8], clean + SIGMA * np.random.default_rng(seed).normal(size=clean.shape)
        if defect == "identical":
            b = a
        found = audit_scene([a, b]).defects(AuditConfig())
        assert len(found) == 1
        assert {"shift": "shifted"}.get(defect, defect) in found[0]


def test_the_shot_at_fault_goes_and_the_others_stay() -> None:
    four = shots(11, 4)
    four[2] = four[2] * 1.1
    audit = audit_scene(four)
    kept, dropped = keep_good(four, audit, AuditConfig())
    assert kept == [0, 1, 3]
    assert list(dropped) == [2]
    assert "brightness" in dropped[2]


def test_texture_is_not_taken_for_noise() -> None:
    """A scene that is fine texture all over: nothing can be said, and nothing is."""
    random = np.random.default_rng(12)
    texture = 0.5 + 0.2 * random.normal(size=(3, 256, 256)) * (random.random((1, 256, 256)) < 0.1)
    a, b = (texture + 0.01 * random.normal(size=texture.shape) for _ in range(2))
    measure = audit_scene([a, b]).pairs[0].correlation
    assert measure.unevenness > 0.35
    assert audit_scene([a, b]).defects(AuditConfig()) == []
