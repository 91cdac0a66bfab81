"""A document as one self-contained HTML file: styles and the small script inside, nothing fetched from anywhere.

Jinja2 escapes all text, and makes visible what one cannot see. A content security policy names the one style and the
one script by their hashes, so that even markup that slipped through could neither run nor reach a network.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seatrial.report.blocks import EMPTY, Block, Document, Fold, Tensors, Tree
from seatrial.report.plots import FRAME, Bar, Plot
from seatrial.report.words import count, seconds, size, visible

if TYPE_CHECKING:
    from jinja2 import Environment, Template

TEMPLATES = Path(__file__).parent / "templates"
# Groups of a tensor table that are in the page without JavaScript.
STATIC_GROUPS = 150
LONG = re.compile(r"\S{21,}")
# Where a long name or path may go on in the next line.
BREAKABLE = re.compile(r"([./:_]+)(?=\w)")
# What could end or disturb a script element, and what JavaScript once read as line ends.
UNSAFE = re.compile("[<>&\u2028\u2029]")


def html_of(document: Document) -> str:
    """The whole report."""
    style, script = asset("report.css"), asset("report.js")
    trees = [t for s in document.sections for t in trees_in(s.blocks)]
    if trees:
        style, script = style + asset("tree.css"), script + asset("tree.js")
    if any(has_plots(s.blocks) for s in document.sections):
        style += asset("plan.css")
    return _template().render(
        document=document,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {hashed(style)}; script-src {hashed(script)}; base-uri 'none'; "
        "form-action 'none'",
        data=[(t.id, embedded(columns(t))) for s in document.sections for t in tensors_in(s.blocks)]
        + [(t.id, embedded(branches(t))) for t in trees],
    )


def tensors_in(blocks: tuple[Block, ...]) -> list[Tensors]:
    """The tensor tables among `blocks`, those in folds too."""
    found: list[Tensors] = []
    for block in blocks:
        if isinstance(block, Tensors):
            found.append(block)
        elif isinstance(block, Fold):
            found += tensors_in(block.blocks)
    return found


def trees_in(blocks: tuple[Block, ...]) -> list[Tree]:
    """The trees among `blocks`, those in folds too."""
    found: list[Tree] = []
    for block in blocks:
        if isinstance(block, Tree):
            found.append(block)
        elif isinstance(block, Fold):
            found += trees_in(block.blocks)
    return found


def has_plots(blocks: tuple[Block, ...]) -> bool:
    """Whether one of `blocks` is a plot or a bar, those in folds too."""
    return any(
        isinstance(block, (Plot, Bar)) or (isinstance(block, Fold) and has_plots(block.blocks)) for block in blocks
    )


def branches(tree: Tree) -> list[list[Any]]:
    """A tree's groups as small JSON (tree.js reads it)."""
    return [
        [
            visible(g.pattern),
            visible(g.fate),
            g.tone,
            visible(g.about),
            [visible(p) for p in g.places],
            visible(g.why),
            g.runs,
        ]
        for g in tree.groups
    ]


def columns(table: Tensors) -> dict[str, Any]:
    """A tensor table as small JSON: repeated words once in `words`, a group as an array (report.js reads it)."""
    words: dict[str, int] = {}

    def word(text: str) -> int:
        return words.setdefault(visible(text), len(words))

    groups = []
    for g in table.groups:
        nbytes = size(g.nbytes) if g.nbytes is not None else ""
        words_of = [word(text) for text in (g.fate, g.tone)]
        more = [word(text) for text in (g.dtype, g.shape, g.target, g.note)]
        groups.append([visible(g.pattern), *words_of, g.count, *more, nbytes, g.runs])
    return {"words": list(words), "groups": groups}


def embedded(value: Any) -> str:
    """JSON that can stand inside a script element whatever is in it."""
    text = msgspec.json.encode(value).decode()
    return UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


@cache
def _template() -> Template:
    return environment(TEMPLATES).get_template("report.html.j2")


@cache
def environment(folder: Path) -> Environment:
    """Escapes all text on its way into a page, and makes visible what one cannot see."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(breaks=breaks, seconds=seconds, size=size, number=count)
    made.globals.update(STATIC_GROUPS=STATIC_GROUPS, FRAME=FRAME, EMPTY=EMPTY)
    return made


def breaks(text: str) -> str:
    """Escaped text in which a browser may break long names and paths after their punctuation, and not in a word."""
    from markupsafe import Markup, escape

    # No entity that escape() writes has one of these four in it, so that none is broken apart.
    escaped = str(escape(visible(text)))
    return Markup(LONG.sub(lambda m: BREAKABLE.sub(r"\1<wbr>", m[0]), escaped))  # noqa: S704 - escaped just here


def _finalize(value: Any) -> Any:
    """Every text on its way into the page; our own markup is of a class of its own and passes."""
    return visible(value) if type(value) is str else value


@cache
def asset(name: str) -> str:
    """A style or script of ours."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def hashed(text: str) -> str:
    """The source of a content security policy that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
