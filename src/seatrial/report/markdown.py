"""A document as Markdown (GitHub's dialect): the same content as the HTML, for a terminal, a diff or an issue.

All text may be hostile: everything that Markdown or HTML could read as more than text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from seatrial.report.blocks import (
    EMPTY,
    Block,
    Cell,
    Code,
    Document,
    Findings,
    Fold,
    Notice,
    Pairs,
    Paragraph,
    Section,
    Table,
    Tensors,
    Timeline,
    Tree,
)
from seatrial.report.charts import Curve, Lanes
from seatrial.report.plots import Bar, Plot
from seatrial.report.words import count, seconds, size, visible

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$-])")
MAX_GROUPS = 300


def markdown_of(document: Document) -> str:
    """The whole report."""
    seal = "" if not document.reason else f" ({text(document.reason)})"
    lines = [
        f"# {text(document.title)}",
        "",
        f"{text(document.subtitle)}. Verdict: **{text(document.verdict)}**. **{text(document.seal)}**{seal}.",
        "",
        *(f"- {text(p.label)}: {_cell(p.value)}" for p in document.header),
        "",
    ]
    for section in document.sections:
        lines += _section(section)
    lines += ["---", "", text(document.footer)]
    return "\n".join(lines) + "\n"


def text(value: str) -> str:
    """Plain text on one line."""
    flat = " ".join(visible(value).split())
    plain = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A bare address would be made a link by GitHub; an escaped colon is still a colon.
    return SPECIAL.sub(r"\\\1", plain).replace("://", ":&#47;&#47;").replace("@", "&#64;")


def fenced(value: str) -> list[str]:
    """A code block whose fence no content can close."""
    value = visible(value)
    longest = max((len(m) for m in re.findall(r"`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *value.splitlines(), fence, ""]


def _section(section: Section) -> list[str]:
    verdict = f": {text(section.verdict)}" if section.verdict else ""
    # The links of the table of steps lead to these ids; a heading's own anchor is made of its title.
    lines = [f'<a id="{section.id}"></a>', "", f"## {text(section.title)}{verdict}", ""]
    lines += [text(section.lead), ""] if section.lead else []
    for block in section.blocks:
        lines += _block(block, 3)
    return lines


def _block(block: Block, level: int) -> list[str]:
    return WRITERS[block.kind](block, level)


def _cell(cell: Cell) -> str:
    words = text(cell.text)
    if cell.href and words:
        words = f"[{words}]({cell.href})"
    if cell.more:
        words = ", ".join(filter(None, [words, *(_cell(c) for c in cell.more)]))
    return f"{words} ({text(cell.note)})" if cell.note and words else words or text(cell.note)


def _heading(title: str, level: int) -> list[str]:
    return [f"{'#' * min(level, 6)} {text(title)}", ""] if title else []


def _rows(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = [text(t) or "&nbsp;" for t in titles]
    if not names:
        return []
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return [*lines, *(f"| {' | '.join(r)} |" for r in rows), ""]


def _left(words: str) -> list[str]:
    return [f"*{text(words)}.*", ""] if words else []


def _paragraph(block: Paragraph, level: int) -> list[str]:
    return [text(block.text), ""]


def _notice(block: Notice, level: int) -> list[str]:
    more = f": {text(block.text)}" if block.text else ""
    return [f"> **{text(block.title)}**{more}", ""]


def _pairs(block: Pairs, level: int) -> list[str]:
    return [*_heading(block.title, level), *(f"- {text(p.label)}: {_cell(p.value)}" for p in block.rows), ""]


def _table(block: Table, level: int) -> list[str]:
    if not block.rows:
        return [*_heading(block.title, level), *_left(block.left_out or EMPTY)]
    rows = ([_cell(c) for c in row] for row in block.rows)
    return [*_heading(block.title, level), *_rows([c.title for c in block.columns], rows), *_left(block.left_out)]


def _code(block: Code, level: int) -> list[str]:
    return [*([f"{text(block.title)}:", ""] if block.title else []), *fenced(block.text)]


def _findings(block: Findings, level: int) -> list[str]:
    lines = []
    for row in block.rows:
        step = f" ({text(row.step)})" if row.step else ""
        lines.append(f"- **{row.severity}** {text(row.code)}{step}, {text(row.place)}: {text(row.message)}")
        lines += [f"  Next: {text(row.next_step)}"] if row.next_step else []
    return [*lines, "", *_left(block.left_out)]


def _timeline(block: Timeline, level: int) -> list[str]:
    rows = ([text(s.name), s.whose, seconds(s.start_s), seconds(s.duration_s)] for s in block.spans)
    return [
        *_heading(f"Timeline ({seconds(block.total_s)} in all)", level),
        *_rows(["span", "whose time", "from", "took"], rows),
        *_left(block.left_out),
    ]


def _tree(block: Tree, level: int) -> list[str]:
    where = f"{count(block.count)} tensors, one by one, are in the artifact {block.source}"
    return [*_heading(block.title, level), f"{text(where)}.", ""]


def _tensors(block: Tensors, level: int) -> list[str]:
    titles = [
        "name",
        "state",
        "number",
        "dtype",
        "shape",
        "bytes",
        *([block.target_title] * bool(block.target_title)),
        "why",
    ]
    rows = []
    for g in block.groups[:MAX_GROUPS]:
        nbytes = size(g.nbytes) if g.nbytes is not None else ""
        target = [text(g.target)] if block.target_title else []
        rows.append(
            [text(g.pattern), text(g.fate), count(g.count), text(g.dtype), text(g.shape), nbytes, *target, text(g.note)]
        )
    more = len(block.groups) - MAX_GROUPS
    left = f"{count(more)} more groups are in the HTML report and in the facts file" if more > 0 else ""
    return [*_heading(block.title, level), *_rows(titles, rows), *_left(left)]


def _fold(block: Fold, level: int) -> list[str]:
    lines = _heading(block.title, level)
    for inner in block.blocks:
        lines += _block(inner, level + 1)
    return lines


def _lanes(block: Lanes, level: int) -> list[str]:
    rows = ([text(lane.label), "; ".join(text(m.label) for m in lane.marks)] for lane in block.lanes)
    rules = [f"*{text('; '.join(r.label for r in block.rules))}.*", ""] if block.rules else []
    return [*_heading(block.title, level), *_rows([block.axis, "what was seen"], rows), *rules]


def _curve(block: Curve, level: int) -> list[str]:
    return [*_heading(block.title, level), text(block.summary), ""]


def _plot(block: Plot, level: int) -> list[str]:
    """What is drawn stands in a table beside it."""
    return [*_heading(block.title, level), f"{text(block.summary)}.", ""]


def _bar(block: Bar, level: int) -> list[str]:
    pieces = (f"- {text(p.name)}: {text(p.words)}" for p in block.pieces)
    unknown = (f"- {text(name)}: unknown, covered by the margin" for name in block.unknown)
    return [*_heading(block.title, level), f"{text(block.summary)}.", "", *pieces, *unknown, ""]


WRITERS: dict[str, Callable[[Any, int], list[str]]] = {
    "paragraph": _paragraph,
    "notice": _notice,
    "pairs": _pairs,
    "table": _table,
    "code": _code,
    "findings": _findings,
    "timeline": _timeline,
    "tensors": _tensors,
    "tree": _tree,
    "fold": _fold,
    "lanes": _lanes,
    "curve": _curve,
    "plot": _plot,
    "bar": _bar,
}
