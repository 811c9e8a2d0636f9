"""Whether the renders of a frame may teach each other.

The audit of real shots, told about renders. Their noise has tails so heavy that a few pixels decide every sum, so
correlations are measured after a tone map, which tames the tails and makes no independent noises dependent. Levels
are compared in linear light, as that is what a target's mean is. The camera does not move between them.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from pipeline.audit import AuditConfig, SceneAudit, audit_scene, keep_good, middle
from pipeline.errors import BadInput
from pipeline.exr.buffers import COLOR
from pipeline.independence import brightness
from pipeline.radiance import reinhard
from pipeline.sharding.realisations import Realisations

BY_REALISATION = ("names", "spp", "seeds", "filled_pixels")  # what KEY.json lists for each


def independent(sample: Realisations, config: AuditConfig) -> Realisations | str:
    """The sample with the realisations that may teach each other, or why there are no two of them.

    Raises BadInput where the audit is to refuse such frames.
    """
    if config.mode == "keep":
        return sample
    dropped = faults(sample, config)
    if not dropped:
        return sample
    names = sample.about["names"]
    reasons = "; ".join(f"{names[number] or number} {reason}" for number, reason in sorted(dropped.items()))
    if config.mode == "refuse":
        todo = "render them with seeds of their own and without adaptive sampling, or choose --audit leave-out or keep"
        raise BadInput("a frame fails the audit", sample.about["source"], reasons, "independent renders", todo)
    kept = [number for number in range(sample.count) if number not in dropped]
    if len(kept) < 2:
        return reasons
    about = {**sample.about, "left_out": reasons}
    for name in BY_REALISATION:
        if name in about:
            about[name] = [about[name][number] for number in kept]
    buffers = {name: [arrays[number] for number in kept] for name, arrays in sample.buffers.items()}
    return Realisations(buffers, sample.reference, about)


def faults(sample: Realisations, config: AuditConfig) -> dict[int, str]:
    """Why a realisation may not be used, by its number."""
    exposure = np.float32(sample.about["exposure"])
    radiances = [radiance.astype(np.float32) * exposure for radiance in sample.buffers[COLOR]]
    audit = audit_renders(radiances)
    return keep_good([reinhard(radiance) for radiance in radiances], audit, of_renders(config))[1]


def audit_renders(radiances: Sequence[NDArray[np.float32]]) -> SceneAudit:
    """Measure two or more exposed renders (3, H, W) of one frame."""
    planes = [middle(radiance) for radiance in radiances]
    audit = audit_scene([reinhard(radiance) for radiance in radiances])
    pairs = [replace(p, brightness=brightness(planes[p.first], planes[p.second])) for p in audit.pairs]
    return replace(audit, pairs=pairs)


def of_renders(config: AuditConfig) -> AuditConfig:
    """Shifts and texture are not judged: the camera does not move, and noise goes with the light."""
    return replace(config, shift_px=inf, unevenness=inf)
