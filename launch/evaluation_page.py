"""Scores as one page for a browser: summary, a table to sort, and pictures to look at pixel by pixel.

One file that opens anywhere, without a network; the scores are there without scripts, too.
"""

import io
import json
import math
from base64 import b64encode
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from launch.scoreboard import save_text
from launch.scores import Evaluation, Score, View, interval_of, mean_of
from pipeline.markup import cards, page, section, text
from pipeline.picture import from_unit

HERE = Path(__file__).parent
SIDE = 1024  # pixels each way that a page shows of a larger picture: its middle, as it is, never scaled
HEADINGS = ("noisy dB", "denoised dB", "noisy SSIM", "denoised SSIM", "MS-SSIM")


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


def worst_and_best(scores: list[Score], count: int) -> list[str]:
    """Names of `count` pictures: the worse half from the worst, then the better half from the best."""
    ranked = [score.name for score in sorted(scores, key=lambda score: score.psnr_srgb8_db)]
    worst = ranked[: (count + 1) // 2]
    best = ranked[max(len(worst), len(ranked) - count // 2) :]
    return [*worst, *reversed(best)]


def save_evaluation_page(evaluations: list[Evaluation], pictures: list[Shown], subject: str, path: Path) -> None:
    """Write the page of evaluations on `subject`, the folder or set that was measured."""
    body = [
        f"<h1>{text(', '.join(dict.fromkeys(e.denoiser for e in evaluations)))}</h1>",
        f"<p>on <code>{text(subject)}</code>; means of per-picture values, with 95 % confidence intervals (Student's t"
        " over the pictures). PSNR, SSIM and MS-SSIM of encoded pictures rounded to 8 bits; the noisy dB of the"
        " noisy picture as it is, unclipped.</p>",
        headline(evaluations[0]),
        section("Summary", summary(evaluations)),
        section("Pictures", viewer(pictures)) if pictures else "",
        section("Picture by picture", per_picture(evaluations, pictures)),
        data(pictures),
    ]
    style, script = (HERE / "viewer.css").read_text(), (HERE / "viewer.js").read_text()
    save_text(page(f"{evaluations[0].denoiser}: scores", "".join(body), style, script), path)


def headline(evaluation: Evaluation) -> str:
    mean = mean_of(evaluation.scores)
    gain = mean["psnr_srgb8_db"] - mean["psnr_noisy_srgb_db"]
    facts = [
        (f"{len(evaluation.scores):,}", "pictures"),
        (evaluation.noise.partition(" ")[0], evaluation.noise.partition(" ")[2] or "noise"),
        (f"{mean['psnr_srgb8_db']:.2f} dB", f"denoised by {evaluation.denoiser}"),
        (f"{gain:+.2f} dB", "over the noisy pictures"),
        (f"{mean['ssim_srgb8']:.4f}", "SSIM"),
    ]
    return cards(facts)


def values(score: dict[str, Any]) -> list[float | None]:
    names = ("psnr_noisy_srgb_db", "psnr_srgb8_db", "ssim_noisy_srgb8", "ssim_srgb8", "msssim_srgb8")
    return [score.get(name) for name in names]


def number(value: float | None, decimals: int, spread: float | None = None) -> str:
    """A cell with a number and its sorting key; unknown ones sort below all."""
    if value is None:
        return '<td data-value="-1">-</td>'
    shown_spread = "" if spread is None else f" &#177; {spread:.{decimals}f}"
    key = "1e9" if math.isinf(value) else repr(value)
    return f'<td data-value="{key}">{value:.{decimals}f}{shown_spread}</td>'


def sortable(texts: tuple[str, ...], rows: list[str]) -> str:
    words = "".join(f'<th data-kind="text" class="text"><button>{text(name)}</button></th>' for name in texts)
    figures = "".join(f'<th data-kind="number"><button>{text(name)}</button></th>' for name in HEADINGS)
    head = f"<thead><tr>{words}{figures}</tr></thead>"
    return f'<div class="card scroll"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def summary(evaluations: list[Evaluation]) -> str:
    rows = []
    for evaluation in evaluations:
        means, intervals = values(mean_of(evaluation.scores)), values(interval_of(evaluation.scores))
        words = f'<td class="text">{text(evaluation.denoiser)}</td><td class="text">{text(evaluation.noise)}</td>'
        cells = (number(m, 2 if n < 2 else 4, i) for n, (m, i) in enumerate(zip(means, intervals, strict=True)))
        rows.append(f"<tr>{words}{''.join(cells)}</tr>")
    return sortable(("denoiser", "noise"), rows)


def per_picture(evaluations: list[Evaluation], pictures: list[Shown]) -> str:
    """A line a picture, denoiser and noise, the worst first; the names of pictures that the page shows are buttons."""
    numbers = {(picture.noise, picture.name): n for n, picture in enumerate(pictures)}
    rows = []
    for evaluation in evaluations:
        for score in sorted(evaluation.scores, key=lambda score: score.psnr_srgb8_db):
            place = numbers.get((evaluation.noise, score.name))
            name = text(score.name) if place is None else f"<button>{text(score.name)}</button>"
            link = "" if place is None else f' data-picture="{place}"'
            words = (
                f'<td class="text" data-value="{text(score.name)}">{name}</td>'
                f'<td class="text">{text(evaluation.denoiser)}</td><td class="text">{text(evaluation.noise)}</td>'
            )
            cells = (number(value, 2 if n < 2 else 4) for n, value in enumerate(values(asdict(score))))
            rows.append(f"<tr{link}>{words}{''.join(cells)}</tr>")
    return sortable(("picture", "denoiser", "noise"), rows)


def viewer(pictures: list[Shown]) -> str:
    noises = len({picture.noise for picture in pictures})
    each = f"{len(pictures) // noises} pictures{f' of each of {noises} noises' if noises > 1 else ''}"
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
