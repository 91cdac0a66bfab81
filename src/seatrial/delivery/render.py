"""Text from the templates beside this file. Values come from evidence and are made harmless for Markdown.

A value is one line, cannot open a fence, a tag or a table cell, and shows every character one cannot see.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.delivery.chinese import reason
from seatrial.report.words import count, seconds, size, visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The template's text; no line ends in blanks, no two blank lines follow each other, one newline at the end."""
    text = _environment().get_template(template).render(**values)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def score(value: float) -> str:
    """A score to four decimals, as tables of results have it."""
    return f"{value:.4f}"


def figure(value: float) -> str:
    """A measured figure of a bench, to two decimals."""
    return f"{value:,.2f}"


def file_name(path: str) -> str:
    """The last part of a path: folders of somebody's machine are nobody's business."""
    return path.rstrip("/").rpartition("/")[2]


def inline(value: Any) -> str:
    """Text of the records in a line of Markdown, as it is read and not as markup."""
    text = " ".join(visible(str(value)).split())
    return re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", text)


def code(value: Any) -> str:
    """The same as a code span; a table cell's bar is escaped, a backtick becomes an apostrophe."""
    text = " ".join(visible(str(value)).split()).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""


def block(value: Any) -> str:
    """The inside of a fenced code block: no line of it can end the block."""
    return "\n".join(visible(line).replace("```", "'''") for line in str(value).splitlines())


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - Markdown, not HTML; `inline`, `code` and `block` escape it
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        inline=inline,
        score=score,
        figure=figure,
        file_name=file_name,
        code=code,
        block=block,
        seconds=seconds,
        size=size,
        number=count,
        reason_zh=reason,
    )
    return environment
