"""The Markdown of our own reports as one self-contained HTML page, with its charts inside.

In: Markdown as `report.py` writes it (headings, quotes, paragraphs, lists, tables, one chart a line) and the SVG texts
by file name. Out: HTML without a script or anything fetched. It is no Markdown reader: nothing else is understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from seatrial.measure.compare.markup import held, released
from seatrial.measure.compare.words import Language

IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
NUMBER = re.compile(r"[-+\d.,% …e]*|unknown|未知")
CELLS = re.compile(r"(?<!\\)\|")
STYLE = """body{font:15px/1.5 system-ui,"Noto Sans CJK SC","PingFang SC",sans-serif;margin:2rem auto;max-width:70rem;
padding:0 1rem;color:#1c2430;background:#fff}h1{font-size:1.7rem}h2{font-size:1.2rem;margin-top:2rem}
table{border-collapse:collapse;margin:.8rem 0;font-variant-numeric:tabular-nums}th,td{padding:.3rem .8rem;
border-bottom:1px solid #d6dae1;text-align:right}th:first-child,td:first-child{text-align:left}
th{border-bottom:2px solid #515b6b}.text{text-align:left}blockquote{margin:0;padding:.4rem 1rem;
border-left:4px solid #b45309;background:#fff7ed}code{font-size:.85em}figure{margin:1rem 0;overflow-x:auto}
main{overflow-x:auto}"""


def page(markdown: str, charts: Mapping[str, str], language: Language) -> str:
    """The page; a chart that is not among `charts` is named instead of drawn."""
    lines = markdown.splitlines()
    title = released(escape(held(next((line[2:] for line in lines if line.startswith("# ")), ""))))
    body: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        kind = line[:1]
        if kind == "|":
            end = next((n for n in range(at, len(lines)) if not lines[n].startswith("|")), len(lines))
            body.append(_table(lines[at:end]))
            at = end
            continue
        if kind == "#":
            depth = len(line) - len(line.lstrip("#"))
            body.append(f"<h{depth}>{_text(line[depth:].strip())}</h{depth}>")
        elif kind == ">":
            body.append(f"<blockquote>{_text(line[1:].strip())}</blockquote>")
        elif line.startswith("* "):
            body.append(f"<div>• {_text(line[2:])}</div>")
        elif found := IMAGE.fullmatch(line):
            body.append(f"<figure>{charts.get(found[2]) or escape(found[2])}</figure>")
        elif line.strip():
            body.append(f"<p>{_text(line)}</p>")
        at += 1
    tag = {"en": "en", "zh": "zh-CN"}[language]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="{tag}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _table(lines: list[str]) -> str:
    rows = [[c.strip() for c in CELLS.split(line.strip())[1:-1]] for line in lines]
    head, rest = rows[0], rows[2:]
    # A column of numbers is set to the right, with its heading.
    words = [not all(NUMBER.fullmatch(row[n]) for row in rest if n < len(row)) for n in range(len(head))]
    parts = [_row("th", head, words), *(_row("td", row, words) for row in rest)]
    return "<table>" + "".join(parts) + "</table>"


def _row(tag: str, cells: list[str], words: list[bool]) -> str:
    kinds = [' class="text"' if n < len(words) and words[n] else "" for n in range(len(cells))]
    return "<tr>" + "".join(f"<{tag}{k}>{_text(c)}</{tag}>" for k, c in zip(kinds, cells, strict=True)) + "</tr>"


def _text(text: str) -> str:
    """Escaped, then bold and code as our reports have them."""
    shown = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(held(text)))
    return released(re.sub(r"`(.+?)`", r"<code>\1</code>", shown))
