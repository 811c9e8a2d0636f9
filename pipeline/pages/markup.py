"""What our pages have in common: one file that opens anywhere and asks for nothing, with its style inside.

The page's own policy forbids the browser to load anything. Every name from outside is escaped. Without a script, a
page is XML, too.
"""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape

from pipeline.index import printable

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --dim: #646c75; --line: #e2e5e9; --back: #f6f7f9; --card: #fff;
  --mark: #3b6fd4; --red: #d64545; --green: #2f9e52; --blue: #3b6fd4; --bad: #b3541e }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --dim: #98a1ab; --line: #30363d; --back: #14171a;
  --card: #1d2125; --mark: #7aa5f5; --red: #ff7b72; --green: #56d37c; --blue: #7aa5f5; --bad: #f0a06a } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 28px 16px 64px }
h1 { font-size: 26px; line-height: 1.25; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 18px; margin: 36px 0 12px }
p { margin: 4px 0; color: var(--dim) }
code, td.sum { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
.totals { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); margin-top: 20px }
.card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 0 }
.totals .card { padding: 12px 16px }
.totals b { display: block; font-size: 22px; font-variant-numeric: tabular-nums }
.totals span, figcaption span, .axis { color: var(--dim); font-size: 13px }
.scroll { overflow: auto; max-height: 420px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 7px 14px; text-align: right; border-top: 1px solid var(--line); vertical-align: top }
tr:first-child > * { border-top: 0 }
th { font-weight: 600; color: var(--dim); white-space: nowrap }
th:first-child, .text, .sum { text-align: left }
td.text { overflow-wrap: anywhere; min-width: 150px }
td.sum { min-width: 150px }
@media (max-width: 600px) { main { padding: 20px 12px 48px } .totals { grid-template-columns: 1fr 1fr }
  th, td { padding: 6px 7px; font-size: 13px } td.text, td.sum { min-width: 84px } }
"""


def page(title: object, body: str, style: str = "", script: str = "") -> str:
    """A whole document; of scripts the browser runs this one alone, known by its checksum."""
    allowed = f"; script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}{allowed}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head>\n"
        f"<body><main>{body}</main>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def cards(facts: Iterable[tuple[str, str]]) -> str:
    """Numbers in large type, each above what it counts."""
    shown = "".join(f'<div class="card"><b>{text(value)}</b><span>{text(name)}</span></div>' for value, name in facts)
    return f'<div class="totals">{shown}</div>\n'


def text(value: object) -> str:
    return escape(printable(str(value)))


def section(title: str, body: str) -> str:
    return f"<section><h2>{text(title)}</h2>{body}</section>\n"


def table(rows: Iterable[str]) -> str:
    return f'<div class="card scroll"><table>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'


def row(name: object, values: Iterable[object], kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f"<th>{text(name)}</th>" + "".join(f"<td{style}>{text(value)}</td>" for value in values)
