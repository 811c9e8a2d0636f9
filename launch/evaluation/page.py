"""Scores as one page for a browser: summary, a table to sort, and pictures to look at pixel by pixel.

One file that opens anywhere, without a network; the scores are there without scripts, too.
"""

import io
import json
import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from launch.evaluation.scoreboard import Terms, save_text
from launch.evaluation.scores import Evaluation, Scored, View, interval_of, mean_of
from pipeline.pages.markup import cards, page, section, text
from pipeline.picture import from_unit

HERE = Path(__file__).parent
SIDE = 1024  # pixels each way that a page shows of a larger picture: its middle, as it is, never scaled


@dataclass(frozen=True)
class Shown:
    """A picture that the page shows: its views as WebP without loss, from noisy to clean, with captions and notes."""

    name: str
    noise: str
    cut: str
    views: list[tuple[str, str, bytes]]


def shown(name: str, noise: str, views: list[View]) -> Shown:
    """Views as a page keeps them; clipped and rounded for the eye."""
    height, width = views[0].pixels.shape[-2:]
    top, left = max(0, height - SIDE) // 2, max(0, width - SIDE) // 2
    cut = f"the middle of {width} x {height}" if top or left else ""
    files = []
    for label, note, pixels in views:
        file = io.BytesIO()
        part = pixels[:, top : top + SIDE, left : left + SIDE]
        Image.fromarray(from_unit(part.numpy(), 8).transpose(1, 2, 0)).save(file, "WEBP", lossless=True, quality=20)
        files.append((label, note, file.getvalue()))
    return Shown(name, noise, cut, files)


def worst_first(scores: Sequence[Scored], terms: Terms) -> list[Scored]:
    return sorted(scores, key=lambda score: float(getattr(score, terms.denoised_db)))


def worst_and_best(scores: Sequence[Scored], count: int, terms: Terms) -> list[str]:
    """Names of `count` pictures: the worse half from the worst, then the better half from the best."""
    ranked = [score.name for score in worst_first(scores, terms)]
    worst = ranked[: (count + 1) // 2]
    best = ranked[max(len(worst), len(ranked) - count // 2) :]
    return [*worst, *reversed(best)]


def save_evaluation_page(
    evaluations: list[Evaluation], pictures: list[Shown], subject: str, path: Path, terms: Terms
) -> None:
    """Write the page of evaluations on `subject`, the folder or set that was measured."""
    body = [
        f"<h1>{text(', '.join(dict.fromkeys(e.denoiser for e in evaluations)))}</h1>",
        f"<p>on <code>{text(subject)}</code>; means of per-{terms.each} values, with 95 % confidence intervals"
        f" (Student's t over the {terms.each}s). {text(terms.explained)}</p>",
        headline(evaluations[0], terms),
        section("Summary", summary(evaluations, terms)),
        section(f"{terms.each}s".capitalize(), viewer(pictures, terms)) if pictures else "",
        section(f"{terms.each} by {terms.each}".capitalize(), per_picture(evaluations, pictures, terms)),
        data(pictures),
    ]
    style, script = (HERE / "viewer.css").read_text(), (HERE / "viewer.js").read_text()
    save_text(page(f"{evaluations[0].denoiser}: scores", "".join(body), style, script), path)


def headline(evaluation: Evaluation, terms: Terms) -> str:
    mean = mean_of(evaluation.scores)
    gain = mean[terms.denoised_db] - mean[terms.noisy_db]
    heading, decimals = terms.columns[terms.also]
    also = mean.get(terms.also)
    facts = [
        (f"{len(evaluation.scores):,}", f"{terms.each}s"),
        (evaluation.noise.partition(" ")[0], evaluation.noise.partition(" ")[2] or "noise"),
        (f"{mean[terms.denoised_db]:.2f} dB", f"denoised by {evaluation.denoiser}"),
        (f"{gain:+.2f} dB", f"over the noisy {terms.each}s"),
        ("-" if also is None else f"{also:.{decimals}f}", heading),
    ]
    return cards(facts)


def cells(score: dict[str, Any], terms: Terms, spreads: dict[str, float] | None = None) -> str:
    """Of each metric one, with half of its interval where it has one."""
    shown = ((score.get(name), (spreads or {}).get(name), digits) for name, (_, digits) in terms.columns.items())
    return "".join(number(value, digits, spread) for value, spread, digits in shown)


def number(value: float | None, decimals: int, spread: float | None) -> str:
    """A cell with a number and its sorting key; unknown ones sort below all."""
    if value is None or math.isnan(value):
        return '<td data-value="-1e9">-</td>'
    shown_spread = "" if spread is None else f" &#177; {spread:.{decimals}f}"
    key = "1e9" if math.isinf(value) else repr(value)
    return f'<td data-value="{key}">{value:.{decimals}f}{shown_spread}</td>'


def sortable(texts: tuple[str, ...], rows: list[str], terms: Terms) -> str:
    words = "".join(f'<th data-kind="text" class="text"><button>{text(name)}</button></th>' for name in texts)
    figures = "".join(
        f'<th data-kind="number"><button>{text(name)}</button></th>' for name, _ in terms.columns.values()
    )
    head = f"<thead><tr>{words}{figures}</tr></thead>"
    return f'<div class="card scroll"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def summary(evaluations: list[Evaluation], terms: Terms) -> str:
    rows = []
    for evaluation in evaluations:
        words = f'<td class="text">{text(evaluation.denoiser)}</td><td class="text">{text(evaluation.noise)}</td>'
        figures = cells(mean_of(evaluation.scores), terms, interval_of(evaluation.scores))
        rows.append(f"<tr>{words}{figures}</tr>")
    return sortable(("denoiser", "noise"), rows, terms)


def per_picture(evaluations: list[Evaluation], pictures: list[Shown], terms: Terms) -> str:
    """A line a picture, denoiser and noise, the worst first; the names of pictures that the page shows are buttons."""
    numbers = {(picture.noise, picture.name): n for n, picture in enumerate(pictures)}
    rows = []
    for evaluation in evaluations:
        for score in worst_first(evaluation.scores, terms):
            place = numbers.get((evaluation.noise, score.name))
            name = text(score.name) if place is None else f"<button>{text(score.name)}</button>"
            link = "" if place is None else f' data-picture="{place}"'
            words = (
                f'<td class="text" data-value="{text(score.name)}">{name}</td>'
                f'<td class="text">{text(evaluation.denoiser)}</td><td class="text">{text(evaluation.noise)}</td>'
            )
            rows.append(f"<tr{link}>{words}{cells(asdict(score), terms)}</tr>")
    return sortable((terms.each, "denoiser", "noise"), rows, terms)


def viewer(pictures: list[Shown], terms: Terms) -> str:
    noises = len({picture.noise for picture in pictures})
    each = f"{len(pictures) // noises} {terms.each}s{f' of each of {noises} noises' if noises > 1 else ''}"
    order = f"{each}, the worst first, then the best."
    return (
        f'<p>{order} Wheel: zoom; drag: move; drag the line: compare.</p><div id="viewer" class="card" '
        'style="padding: 10px 14px"><div class="bar"><button id="previous">&#8592;</button>'
        '<button id="next">&#8594;</button><b id="name"></b><span id="noise"></span><span class="spring"></span>'
        '<button id="fit">fit</button><button id="pixels">1:1</button><button id="farther">&#8722;</button>'
        '<span id="zoom"></span><button id="closer">+</button></div>'
        '<canvas id="compare"></canvas><input id="split" type="range" min="0" max="1000" value="500" '
        'aria-label="where the two pictures meet"/><div class="bar"><select id="left" aria-label="left"></select>'
        '<span class="spring"></span><label>difference <select id="gain"><option>1</option><option>2</option>'
        '<option selected="">4</option><option>8</option><option>16</option></select> x</label>'
        '<span class="spring"></span><select id="right" aria-label="right"></select></div>'
        '<div id="values">&#160;</div><div id="panels" class="panels"></div></div>'
    )


def data(pictures: list[Shown]) -> str:
    entries = [
        {
            "name": picture.name,
            "noise": picture.noise,
            "cut": picture.cut,
            "views": [
                {"label": label, "note": note, "src": f"data:image/webp;base64,{b64encode(file).decode()}"}
                for label, note, file in picture.views
            ],
        }
        for picture in pictures
    ]
    content = json.dumps(entries).replace("<", "\\u003c")  # names may hold anything, also what would end the element
    return f'<script type="application/json" id="pictures">{content}</script>'
