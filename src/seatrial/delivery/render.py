"""Text from the templates beside this file. Values come from evidence and are made harmless for Markdown.

A value is one line, cannot open a fence, a tag, a table cell or a template (MyST and the macros of MkDocs hand double
braces to Jinja2), mentions nobody, and shows every character one cannot see.
"""

from __future__ import annotations

import math
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seatrial.delivery.chinese import reason
from seatrial.report.words import count, seconds, size, visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# Where Jinja2 would begin something, and what it makes that brace of.
OPENS = re.compile(r"\{(?=[{%#])")
GUARDED = "{{ '{' }}"
# The last word of a text that was cut, and figures before it: without the word behind it nobody can look one up.
PIECE = re.compile(r"[\w.,-]+$")
FIGURES = re.compile(r"(?:[^\W\d]*\d[\w.,-]*\W*)+$")


def render(template: str, *, macros: bool = False, **values: Any) -> str:
    """The template's text; no line ends in blanks, no two blank lines follow each other, one newline at the end.

    `macros`: whether the text will go through Jinja2 once more, code blocks and all, as MkDocs' macros do it.
    """
    text = _environment(macros).get_template(template).render(**values)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def score(value: float) -> str:
    """A score to four decimals, as tables of results have it."""
    return f"{value:.4f}"


def figure(value: float) -> str:
    """A measured figure of a bench, to two decimals; one below 1 to three digits, lest it be rounded to nothing."""
    return f"{value:,.2f}" if value == 0 or abs(value) >= 1 else f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def file_name(path: str) -> str:
    """The last part of a path: folders of somebody's machine are nobody's business."""
    return path.rstrip("/").rpartition("/")[2]


def inline(value: Any) -> str:
    """Text of the records in a line of Markdown, as it is read and not as markup."""
    text = " ".join(visible(str(value)).split())
    # Entities where not every dialect takes a backslash; a bare address or name would be a link on GitHub.
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("://", ":&#47;&#47;")
    text = re.sub(r"[{}~$@]", lambda m: f"&#{ord(m[0])};", text)
    return re.sub(r"([\\`*_\[\]|]|(?<!&)#)", r"\\\1", text)


def brief(value: Any, most: int = 200) -> str:
    """The beginning of a text, not escaped yet: whole words, and no figure without the word behind it."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else FIGURES.sub("", PIECE.sub("", text[:most])).rstrip() + "…"


def code(value: Any) -> str:
    """The same as a code span; a table cell's bar is escaped, a backtick becomes an apostrophe."""
    text = " ".join(visible(str(value)).split()).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""


def block(value: Any) -> str:
    """The inside of a fenced code block: no line of it can end the block."""
    lines = (visible(line) for line in str(value).splitlines())
    # No quote stands in for a backtick: that would end a quoted word of a command.
    return "\n".join(re.sub(r"^(\s*)(`{3,}|~{3,})", r"\1?\2", line) for line in lines)


def word(value: Any) -> str:
    """One word of a shell."""
    return shlex.quote(str(value))


def guarded(text: str) -> str:
    """Text that Jinja2 makes the same text of."""
    return OPENS.sub(GUARDED, text)


def unguarded(text: str) -> str:
    """What Jinja2 makes of `guarded` text."""
    return text.replace(GUARDED, "{")


@cache
def _environment(macros: bool) -> Environment:
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
        brief=brief,
        word=word,
        code=(lambda value: guarded(code(value))) if macros else code,
        block=(lambda value: guarded(block(value))) if macros else block,
        seconds=seconds,
        size=size,
        number=count,
        reason_zh=reason,
    )
    return environment
