"""Whether shots may teach each other: a scene's defects, by measures that know their own errors."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.independence import (
    Correlation,
    Measure,
    Plane,
    brightness,
    contrast,
    correlation,
    neighbours,
    shift,
    variance_ratio,
)

WINDOW = 512  # pixels: of larger pictures the middle is looked at
NEAR = 0.9  # correlation from which shots are near-identical, however little noise they have
ALL_PAIRS = 5  # shots up to which every pair is looked at; of longer bursts each shot and the next


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What matters. A value counts as a defect where it is larger than this and than five of its standard errors."""

    mode: Literal["leave-out", "refuse", "keep"] = "leave-out"
    """Of shots with defects: leave them out, refuse the set, or keep them."""
    correlation: float = 0.1
    """Of the noises of two shots. At r, the denoised picture keeps up to r of its noise."""
    unevenness: float = 0.35
    """Of the correlation, above which it is texture's and is not judged."""
    texture: float = 0.02
    """Shared deviations up to this share of the mean level may be the scene's texture, or a film's grain in it, and
    count only where hardly anything else is there. Photographs of Kodak reach 0.015."""
    brightness: float = 0.02
    """Difference of the means, as a share of them."""
    shift_px: float = 0.1


@dataclass(frozen=True)
class PairAudit:
    """Two shots."""

    first: int
    second: int
    identical: bool
    correlation: Correlation
    brightness: Measure
    shift_px: Measure
    variance_ratio: Measure
    """As log2."""
    neighbours: Measure
    """Of pixels side by side in one shot: no defect, as it is not between the shots."""

    def defects(self, config: AuditConfig) -> list[str]:
        if self.identical:
            return ["identical"]
        found = []
        near = "near-identical, " if self.correlation.value > NEAR else ""
        even = self.correlation.unevenness < config.unevenness * (2 if near else 1)
        seen = even and (near or self.correlation.shared > config.texture)
        if seen and self.correlation.beyond(config.correlation):
            found.append(f"{near}noise correlation {self.correlation.value:+.2f} +- {self.correlation.error:.2f}")
        if self.brightness.beyond(config.brightness):
            found.append(f"brightness {self.brightness.value:+.1%} +- {self.brightness.error:.1%}")
        if self.shift_px.beyond(config.shift_px):
            found.append(f"shifted by {self.shift_px.value:.2f} +- {self.shift_px.error:.2f} pixels")
        return found


@dataclass(frozen=True)
class SceneAudit:
    """All of a scene that was looked at."""

    pairs: list[PairAudit]
    contrast: Measure | None
    """Of correlations between pairs, where there are four shots."""

    def defects(self, config: AuditConfig) -> list[str]:
        """In words; nothing where the shots may teach each other."""
        found = [f"shots {p.first} and {p.second}: {', '.join(p.defects(config))}" for p in self.bad_pairs(config)]
        if self.contrast is not None and self.contrast.beyond(config.correlation):
            found.append(f"noise correlations differ by {abs(self.contrast.value):.2f} +- {self.contrast.error:.2f}")
        return found

    def bad_pairs(self, config: AuditConfig) -> list[PairAudit]:
        return [pair for pair in self.pairs if pair.defects(config)]

    def worst(self, name: str) -> Measure:
        """Of a measure, the one of all pairs that is farthest from zero."""
        return max((getattr(pair, name) for pair in self.pairs), key=lambda measure: abs(measure.value))


def audit_scene(shots: Sequence[NDArray[Any]]) -> SceneAudit:
    """Measure two or more shots (C, H, W) of one scene, in any units."""
    planes = [middle(shot) for shot in shots]
    count = len(planes)
    pairs = list(itertools.combinations(range(count), 2))
    if count > ALL_PAIRS:
        pairs = [(i, i + 1) for i in range(count - 1)] + [(0, count - 1)]
    whole = contrast(planes) if count >= 4 else None
    return SceneAudit([audit_pair(planes, i, j) for i, j in pairs], whole)


def audit_pair(planes: Sequence[Plane], i: int, j: int) -> PairAudit:
    a, b = planes[i], planes[j]
    identical = np.array_equal(a, b)
    of_levels = correlation(a, b), brightness(a, b), shift(a, b), variance_ratio(a, b), neighbours(a, b)
    return PairAudit(i, j, identical, *of_levels)


def middle(shot: NDArray[Any]) -> Plane:
    _, height, width = shot.shape
    top, left = max(0, height - WINDOW) // 2, max(0, width - WINDOW) // 2
    return shot[:, top : top + WINDOW, left : left + WINDOW].astype(np.float64)


def keep_good(
    shots: Sequence[NDArray[Any]], audit: SceneAudit, config: AuditConfig
) -> tuple[list[int], dict[int, str]]:
    """The shots that may teach each other, and why each other one may not.

    The shot with the most defects goes first, until no pair that was looked at has one; a defect of the scene as a
    whole that no pair explains leaves nothing.
    """
    kept, dropped = list(range(len(shots))), {}
    bad = audit.bad_pairs(config)
    while bad:
        counts = [(sum(shot in (pair.first, pair.second) for pair in bad), shot) for shot in kept]
        shot = max(counts)[1]
        reasons = [
            f"with shot {p.first + p.second - shot}: {', '.join(p.defects(config))}"
            for p in bad
            if shot in (p.first, p.second)
        ]
        dropped[shot] = "; ".join(reasons)
        kept.remove(shot)
        bad = [pair for pair in bad if shot not in (pair.first, pair.second)]
    again = audit.contrast if not dropped else contrast([middle(shots[k]) for k in kept]) if len(kept) >= 4 else None
    if again is not None and again.beyond(config.correlation):
        reason = f"noise correlations differ by {abs(again.value):.2f} +- {again.error:.2f}"
        dropped |= dict.fromkeys(kept, reason)
        kept = []
    return kept, dropped


def audit_table(audits: dict[str, SceneAudit], config: AuditConfig) -> str:
    """One line a scene: its worst values with their standard errors, and the verdict."""
    width = max(len("scene"), *(len(name) for name in audits))
    titles = "shots  noise correlation     brightness         shift px    variance ratio        neighbours  verdict"
    lines = [f"{'scene':{width}}  {titles}"]
    for name, audit in audits.items():
        count = 1 + max(pair.second for pair in audit.pairs)
        measures = ("correlation", "brightness", "shift_px", "variance_ratio", "neighbours")
        r, level, moved, variances, beside = (audit.worst(measure) for measure in measures)
        textured = any(pair.correlation.unevenness >= config.unevenness for pair in audit.pairs)
        verdict = "; ".join(audit.defects(config)) or ("good, correlation not judged: texture" if textured else "good")
        lines.append(
            f"{name:{width}}  {count:5}  {r.value:+8.3f} +- {r.error:5.3f}  {level.value:+7.2%} +- {level.error:5.2%}"
            f"  {moved.value:5.2f} +- {moved.error:5.2f}  {2**variances.value:16.2f}"
            f"  {beside.value:+7.3f} +- {beside.error:5.3f}  {verdict}"
        )
    return "\n".join(lines)
