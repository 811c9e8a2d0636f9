"""Verb: what is in a shard set; whether it is whole; and the exact pair that training sees at draw D, as a picture."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import torch
import yaml

from pipeline.audit import AuditConfig
from pipeline.corruption import CorruptionConfig
from pipeline.corruptions.camera import to_srgb
from pipeline.errors import EXIT_BAD_INPUT, BadInput, run_verb
from pipeline.foreign import indexed
from pipeline.index import load_index, shown
from pipeline.loader import LoaderConfig
from pipeline.open_pairs import open_pairs
from pipeline.order import Order
from pipeline.pages.scenes_page import audit_report, describe_scenes, render_views
from pipeline.pages.set_page import save_page
from pipeline.pairs import PairDataset, PairsConfig
from pipeline.panel import coloured, save_png, side_by_side
from pipeline.picture import to_unit
from pipeline.radiance import RendersConfig
from pipeline.reader import ShardSet
from pipeline.realisations import RealisationSet
from pipeline.remote.place import Place, Remote, place
from pipeline.render_pairs import RenderPairDataset
from pipeline.shot_pairs import ShotPairs
from pipeline.showcase import showcase
from pipeline.verify import verify


def describe(folder: Place) -> str:
    """A table of the set: totals, statistics, what was left out, and one line a shard."""
    index = load_index(folder)
    statistics = index.statistics
    described = describe_scenes(statistics) if index.members_sha256 else describe_statistics(statistics)
    lines = [
        f"{folder}: {index.samples} samples in {len(index.shards)} shards, {statistics['pixels'] / 1e6:.1f} megapixels",
        f"  made with   {json.dumps(index.options)}",
        f"  by          {json.dumps(index.versions)}",
        *described,
        f"  left out    {len(index.left_out)}",
        *(f"    {shown(entry)}" for entry in index.left_out),
        f"{'shard':24}{'samples':>10}{'bytes':>16}  sha256",
        *(f"{s.name:24}{s.samples:>10}{s.bytes:>16,}  {s.sha256[:16] or '-'}" for s in index.shards),
    ]
    return "\n".join(lines)


def describe_statistics(statistics: dict[str, Any]) -> list[str]:
    """Sizes of all samples, and levels of those that were decoded; values in [0, 1] as encoded."""
    marks = ("min", "p5", "median", "p95", "max")
    lines = [f"{'':14}" + "".join(f"{mark:>12}" for mark in marks)]
    for name in ("width", "height", "picture_bytes"):
        lines.append(f"  {name:12}" + "".join(f"{statistics[name][mark]:>12,}" for mark in marks))
    counts = {name: ", ".join(f"{n} of {c}" for c, n in statistics[name].items()) for name in ("channels", "bits")}
    lines += [f"  {name:12}{text}" for name, text in counts.items()]
    means, variances = ([f"{value:.4f}" for value in statistics[name]] for name in ("mean_rgb", "variance_rgb"))
    lines += [
        f"  mean        red {means[0]}  green {means[1]}  blue {means[2]}"
        f"  (of {statistics['measured_pictures']} decoded pictures)",
        f"  variance    red {variances[0]}  green {variances[1]}  blue {variances[2]}",
        "  luminance   " + "  ".join(f"{p}% {value:.3f}" for p, value in statistics["luminance_percentiles"].items()),
    ]
    return lines


def draw_pair(folder: Path, draw: int, config: Path, out: Path) -> None:
    """Save source and target of draw `draw` side by side, and print the ranges of what training sees."""
    dataset = open_dataset(folder, config)
    pair = dataset.batch([draw])
    sample = int(dataset.order.samples([draw])[0])
    if isinstance(dataset, RenderPairDataset):
        name, views = dataset.shards.where(sample), render_views(pair.source[0], pair.target[0], dataset.renders)
    else:
        linear = not isinstance(dataset, ShotPairs) and dataset.corruption.law.linear
        name = dataset.shards.where(sample) if isinstance(dataset, ShotPairs) else str(dataset.shards.read(sample))
        target = to_srgb(pair.target[0]) if linear else pair.target[0]  # for the eye alone
        views = [("source", coloured(pair.source[0])), ("target", coloured(target))]
    save_png(side_by_side(views), out)
    ranges = ", ".join(f"{k} {v.min():+.3f} to {v.max():+.3f}" for k, v in pair._asdict().items())
    print(f"draw {draw}: {name}\n  {ranges}\n  {out}")


def open_dataset(folder: Path, config: Path) -> PairDataset | ShotPairs | RenderPairDataset:
    """The pairs of a configuration: what of it decides a pair is read with the types that training gives it."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--seed", type=int, default=0)
    sections: dict[str, Any] = {"pairs": PairsConfig, "corruption": CorruptionConfig, "loader": LoaderConfig}
    sections["renders"] = RendersConfig
    for name, section in sections.items():
        parser.add_class_arguments(section, name)
    try:
        document = yaml.safe_load(config.read_text()) or {}
        ours = {name: document[name] for name in ("seed", *sections) if name in document}
        parsed = parser.instantiate(parser.parse_object(ours))
    except (OSError, yaml.YAMLError, jsonargparse.ArgumentError, ValueError) as error:
        raise BadInput("the configuration cannot be read", config, str(error), "a file that n2n train reads") from error
    if load_index(folder).options.get("kind") == "renders":
        frames = RealisationSet(folder)
        order = Order(parsed.seed, frames.samples_per_shard, parsed.loader.window, lanes=parsed.loader.lanes)
        return RenderPairDataset(frames, order, parsed.pairs, parsed.renders, parsed.seed)
    return open_pairs(folder, parsed.pairs, parsed.corruption, parsed.seed, parsed.loader)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n inspect", description="Show what is in a shard set.")
    parser.add_argument("folder", help="the set; its table and --verify also of s3://, gs://, https://")
    parser.add_argument("--verify", action="store_true", help="recompute every checksum")
    parser.add_argument("--audit", action="store_true", help="of real shots and renders: may they teach each other?")
    parser.add_argument(
        "--html", type=Path, help="also write a page with pictures and histograms: one file, no network"
    )
    parser.add_argument("--samples", type=int, default=60, help="pictures on the page (default: 60)")
    parser.add_argument("--corruptions", type=Path, help="save its first picture under every corruption, as tested")
    parser.add_argument("--draw", type=int, help="save the pair that training sees at this draw")
    parser.add_argument("--config", type=Path, help="configuration of the training, with --draw")
    parser.add_argument("--out", type=Path, default=Path("pair.png"), help="picture of the pair (default: pair.png)")
    options = parser.parse_args(arguments)
    folder = place(options.folder)
    folder = folder if isinstance(folder, Remote) else indexed(folder)
    drawn = options.html or options.corruptions or options.audit or options.draw is not None
    if isinstance(folder, Remote) and drawn:
        todo = "copy the set to a disk first"
        raise BadInput("pictures are drawn from a set on a disk", folder, "an address", "a folder", todo)
    if options.draw is not None:
        assert isinstance(folder, Path)
        if options.config is None or options.draw < 0:
            raise BadInput("--draw needs --config, and a draw of at least 0", "the command line", f"{options.draw}")
        draw_pair(folder, options.draw, options.config, options.out)
        return
    if options.corruptions:
        assert isinstance(folder, Path)
        pixels = np.ascontiguousarray(to_unit(ShardSet(folder).pixels(0)))
        save_png(showcase(torch.from_numpy(pixels)), options.corruptions)
        print(f"every corruption: {options.corruptions}")
        return
    print(describe(folder))
    if options.html and isinstance(folder, Path):
        save_page(folder, options.html, options.samples)
        print(f"page: {options.html}")
    if options.audit and isinstance(folder, Path):
        print(audit_report(folder, AuditConfig())[0])
    if options.verify:
        faults = verify(folder)
        print("\n".join(faults) if faults else "every checksum is right")
        if faults:
            sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    run_verb(main)
