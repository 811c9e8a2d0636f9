"""A set as one page for a browser: totals, statistics, histograms, pictures, what was left out, checksums."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.index import Index, LeftOut
from pipeline.pages.chart import bars, curves
from pipeline.pages.contact_sheet import Thumbnail, thumbnails
from pipeline.pages.markup import cards, page, row, section, table, text
from pipeline.reader import ShardSet
from pipeline.sharding.statistics import CHANNELS, counted_levels

MARKS = ("min", "p5", "median", "p95", "max")

STYLE = """
.charts, .sheet, .pairs { display: grid; gap: 12px }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)) }  /* two by two */
.pairs { grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); align-items: start }
.sheet { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)) }
td.kind { color: var(--bad); white-space: nowrap; min-width: 0 }
figure { padding: 12px 14px }
figcaption, .axis { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 12px }
svg { display: block; width: 100%; height: 120px; margin: 8px 0 4px; border-bottom: 1px solid var(--line) }
rect { fill: var(--mark) }
path { fill-opacity: .16; stroke-width: 1.5; vector-effect: non-scaling-stroke }
.red { fill: var(--red); stroke: var(--red) } .green { fill: var(--green); stroke: var(--green) }
.blue { fill: var(--blue); stroke: var(--blue) } .luminance { fill: none; stroke: var(--ink) }
.sheet figure { padding: 6px; min-width: 0 }
.sheet img { display: block; width: 100%; height: 140px; object-fit: contain; background: var(--back);
  border-radius: 4px }
.size { white-space: nowrap; float: right }
.sheet code { font-size: 12px }
.sheet figcaption { display: block; font-size: 12px; margin-top: 6px; line-height: 1.4; overflow-wrap: anywhere }
@media (max-width: 600px) { .sheet { gap: 8px } }
"""


def save_page(folder: Path, path: Path, samples: int) -> None:
    """Write the page of a set with its first `samples` pictures. Raises BadInput where the set is damaged."""
    if samples < 0:
        raise BadInput("--samples is too small", "the command line", str(samples), "at least 0")
    content = document(ShardSet(folder), samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        file.write(content.encode())


def document(shards: ShardSet, samples: int) -> str:
    pictures = list(thumbnails(shards, samples))
    index = shards.index
    title = shards.folder.resolve().name
    parts = [
        f"<h1>{text(title)}</h1><p><code>{text(shards.folder)}</code></p>",
        totals(index),
        section("Statistics", statistics(index.statistics)),
        section("Histograms", histograms(shards)),
        section(f"The first {len(pictures)} of {index.samples:,} samples", sheet(pictures)) if pictures else "",
        section(f"Left out: {len(index.left_out):,}", left_out(index.left_out)),
        section("How it was made", made(index)),
        section(f"Shards: {len(index.shards):,}", shard_table(index)),
    ]
    return page(title, "".join(parts), STYLE)


def totals(index: Index) -> str:
    stored = sum(shard.bytes for shard in index.shards)
    facts = [
        (f"{index.samples:,}", "samples"),
        (f"{len(index.shards):,}", "shards"),
        (f"{index.statistics['pixels'] / 1e6:,.1f}", "megapixels"),
        (f"{stored / 1e6:,.1f}", "megabytes"),
        (f"{len(index.left_out):,}", "left out"),
    ]
    return cards(facts)


def statistics(facts: dict[str, Any]) -> str:
    """Sizes of all samples beside levels of the decoded ones; values in [0, 1] as encoded."""
    sizes = ["<th></th>" + "".join(f"<th>{mark}</th>" for mark in MARKS)]
    for name in ("width", "height", "picture_bytes"):
        sizes.append(row(name.replace("_", " "), (f"{facts[name][mark]:,}" for mark in MARKS)))
    colours = ["<th></th>" + "".join(f"<th>{name}</th>" for name in CHANNELS[:3])]
    for name in ("mean", "variance"):
        colours.append(row(name, (f"{value:.4f}" for value in facts[f"{name}_rgb"])))
    for name in ("channels", "bits"):
        counts = ", ".join(f"{n:,} of {c}" for c, n in facts[name].items())
        colours.append(f'<th>{name}</th><td colspan="3">{text(counts)}</td>')
    percentiles = facts["luminance_percentiles"]
    light = ["<th>percentile</th>" + "".join(f"<th>{text(p)}</th>" for p in percentiles)]
    light.append(row("luminance", (f"{value:.3f}" for value in percentiles.values())))
    measured = f"<p>Levels are of {facts['measured_pictures']:,} decoded pictures.</p>"
    return f'<div class="pairs">{table(sizes)}{table(colours)}</div>{measured}{table(light) if percentiles else ""}'


def histograms(shards: ShardSet) -> str:
    samples = shards.table
    charts = [bars(name.capitalize(), samples[name].astype(np.int64), " px") for name in ("width", "height")]
    charts.append(bars("Bytes of a picture", samples["size"].astype(np.int64)))
    if counts := counted_levels(shards.index.statistics):
        measured = shards.index.statistics["measured_pictures"]
        charts.append(curves("Levels", counts, f"red, green, blue, luminance of {measured:,} decoded pictures"))
    return f'<div class="charts">{"".join(charts)}</div>'


def sheet(pictures: list[Thumbnail]) -> str:
    figures = []
    for picture in pictures:
        data = base64.b64encode(picture.jpeg).decode()
        figures.append(
            f'<figure><img src="data:image/jpeg;base64,{data}" alt=""/><figcaption><code>{text(picture.key)}</code>'
            f' <span class="size">{picture.width} x {picture.height}</span><br/>{text(picture.source)}'
            "</figcaption></figure>"
        )
    return f'<div class="sheet">{"".join(figures)}</div>'


def left_out(entries: list[LeftOut]) -> str:
    if not entries:
        return "<p>Nothing: every source is in the set.</p>"
    rows = ['<th>source</th><th class="text">kind</th><th class="text">reason</th>']
    for entry in entries:
        kind = f'<td class="text kind">{text(entry.kind)}</td>'
        rows.append(f'<td class="text">{text(entry.source)}</td>{kind}<td class="text">{text(entry.reason)}</td>')
    return table(rows)


def made(index: Index) -> str:
    def shown(value: object) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    tables = (table(row(k, [shown(v)], "sum") for k, v in said.items()) for said in (index.options, index.versions))
    return f'<div class="pairs">{"".join(tables)}</div>'


def shard_table(index: Index) -> str:
    rows = ['<th>shard</th><th>samples</th><th>bytes</th><th class="sum">SHA-256</th>']
    for shard in index.shards:
        numbers = row(shard.name, (f"{shard.samples:,}", f"{shard.bytes:,}"))
        rows.append(f'{numbers}<td class="sum">{text(shard.sha256)}</td>')
    return table(rows)
