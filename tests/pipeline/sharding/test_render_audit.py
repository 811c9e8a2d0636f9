"""Renders that may not teach each other are found, and heavy tails are no reason."""

from typing import Any

import numpy as np
import pytest

from pipeline.audit import AuditConfig
from pipeline.errors import BadInput
from pipeline.sharding.realisations import Realisations
from pipeline.sharding.render_audit import independent

AUDIT = AuditConfig()


def renders(seed: int, count: int = 3) -> list[Any]:
    """Independent renders of one scene: squares in a gradient of light, log-normal noise of mean one, fireflies."""
    y, x = np.mgrid[:192, :256] / 256
    scene = (0.1 + 0.8 * ((8 * x).astype(int) + (6 * y).astype(int)) % 2 + x).astype(np.float32)
    rng = np.random.default_rng(seed)
    spread = 1.0
    found = []
    for _ in range(count):
        noise = np.exp(rng.normal(-(spread**2) / 2, spread, (3, *scene.shape)))
        fireflies = 200 * (rng.random(scene.shape) < 1e-4)
        found.append((scene * noise + fireflies).astype(np.float32))
    return found


def sample(radiances: list[Any]) -> Realisations:
    albedo = [np.full_like(radiance, number) for number, radiance in enumerate(radiances)]
    names = list("abcd"[: len(radiances)])
    about = {"source": "room", "names": names, "spp": [8 + n for n in range(len(names))], "exposure": 0.5}
    return Realisations({"color": radiances, "albedo": albedo}, None, about)


@pytest.mark.parametrize("seed", range(8))
def test_independent_renders_with_fireflies_are_good(seed: int) -> None:
    whole = sample(renders(seed))
    assert independent(whole, AUDIT) is whole


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_shared_samples_are_found(share: float) -> None:
    a, b = renders(1, 2)
    found = independent(sample([a, share * a + (1 - share) * b]), AUDIT)
    assert isinstance(found, str)
    assert "correlation" in found or "identical" in found


def test_another_level_is_found() -> None:
    a, b = renders(2, 2)
    found = independent(sample([a, 1.2 * b]), AUDIT)
    assert isinstance(found, str)
    assert "brightness" in found


def test_the_good_ones_of_several_stay_with_their_buffers_and_words() -> None:
    a, b, c = renders(3)
    found = independent(sample([a, a, b, c]), AUDIT)
    assert isinstance(found, Realisations)
    assert found.about["names"] in (["a", "c", "d"], ["b", "c", "d"])
    assert found.about["spp"] == [8 + "abcd".index(name) for name in found.about["names"]]
    assert [int(albedo[0, 0, 0]) for albedo in found.buffers["albedo"]] == [
        "abcd".index(n) for n in found.about["names"]
    ]
    assert "identical" in found.about["left_out"]


def test_modes() -> None:
    a, b = renders(4, 2)
    bad = sample([a, 0.5 * a + 0.5 * b])
    assert independent(bad, AuditConfig(mode="keep")) is bad
    with pytest.raises(BadInput, match=r"fails the audit(.|\n)*room"):
        independent(bad, AuditConfig(mode="refuse"))
