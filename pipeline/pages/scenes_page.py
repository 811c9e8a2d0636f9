"""What is in a set of realisations: the part of the verb `inspect` that is for scenes and renders."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.audit import AuditConfig, SceneAudit, audit_scene, audit_table
from pipeline.panel import coloured
from pipeline.radiance import AUXILIARY, RendersConfig, reinhard
from pipeline.realisations import RealisationSet
from pipeline.sharding.render_audit import audit_renders, of_renders


def describe_scenes(statistics: dict[str, Any]) -> list[str]:
    """Sizes, numbers of realisations, and buffers with their types."""
    lines = [f"  {name:12}{statistics[name]['min']:,} to {statistics[name]['max']:,}" for name in ("width", "height")]
    shots = ", ".join(f"{scenes} of {count}" for count, scenes in statistics["realisations"].items())
    lines.append(f"  shots       {shots}; {statistics['references']} with a reference")
    for entry in statistics["buffers"]:
        what = f"{entry['files']} of {entry['channels']} channels, {entry['dtype']}"
        lines.append(f"  {entry['buffer']:12}{what}")
    return lines


def audit_set(opened: RealisationSet) -> dict[str, SceneAudit]:
    """The audit of the color buffer of every sample that has two or more, by its name."""
    audits = {}
    for sample in tqdm(range(len(opened)), "audit", unit="scene", disable=None):
        if opened.realisations(sample) > 1:
            shots = [opened.pixels(sample, "color", i) for i in range(opened.realisations(sample))]
            if of_light(opened):
                exposure = np.float32(opened.about(sample)["exposure"])
                audit = audit_renders([shot.astype(np.float32) * exposure for shot in shots])
            else:
                audit = audit_scene(shots)
            audits[sample_name(opened, sample)] = audit
    return audits


def of_light(opened: RealisationSet) -> bool:
    """Whether these are renders; else shots by a camera."""
    return opened.index.options.get("kind") == "renders"


def sample_name(opened: RealisationSet, sample: int) -> str:
    """The scene's name, and where its tile was cut."""
    about = opened.about(sample)
    name = str(about.get("source", sample))
    return f"{name} at {about['tile']}" if "tile" in about else name


def audit_report(folder: Path, config: AuditConfig) -> tuple[str, int]:
    """The table of a set, and how many scenes have defects."""
    opened = RealisationSet(folder)
    audits, config = audit_set(opened), of_renders(config) if of_light(opened) else config
    bad = sum(bool(audit.defects(config)) for audit in audits.values())
    if not audits:
        return "no sample has two realisations", 0
    return f"{audit_table(audits, config)}\n{bad} of {len(audits)} scenes have defects", bad


def render_views(source: Tensor, target: Tensor, renders: RendersConfig) -> list[tuple[str, Tensor]]:
    """What a network is shown of a source (channels, H, W), by buffer, and the target (3, H, W) tone-mapped."""
    views = [("source", source[:3])]
    start = 3
    for buffer in renders.buffers:
        views.append((buffer, coloured(source[start : start + AUXILIARY[buffer]])))
        start += AUXILIARY[buffer]
    return [*views, ("target", torch.from_numpy(reinhard(target.numpy())))]
