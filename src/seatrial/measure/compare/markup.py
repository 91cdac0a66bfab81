"""Text of labels, reasons and settings in our Markdown as it is read and not as markup, and back for the page.

In: any text. Out: one line of Markdown that GitHub shows as that text: no table cell, heading, link, tag or mention is
made of it. Plain words stay as they are.
"""

from __future__ import annotations

import re
from html import escape

# An underscore inside a word is no emphasis.
SPECIAL = re.compile(r"([\\`*\[\]|<>&~$]|(?<!\w)_|_(?!\w))")
START = re.compile(r"^([#+=-]|\d+(?=[.)]))")  # begins a heading or a list where it begins a line
BACK = re.compile(r"\\([!-/:-@\[-`{-~])")
HELD = 0xE000  # private use: where an escaped character waits while markup is read


def inline(text: str, *, begins: bool = False) -> str:
    """On one line, escaped. `begins`: it comes first in a line, a quote or an item of a list."""
    shown = SPECIAL.sub(r"\\\1", " ".join(text.split()))
    # A bare address or a name would be a link on GitHub.
    shown = shown.replace("://", ":\\//").replace("@", "&#64;")
    found = START.match(shown)
    if not begins or found is None:
        return shown
    return f"\\{shown}" if not found[1].isdigit() else f"{found[1]}\\{shown[found.end() :]}"


def code(text: str) -> str:
    """As a code span."""
    return "`" + " ".join(text.split()).replace("`", "'").replace("|", "\\|") + "`"


def held(markdown: str) -> str:
    """Every escaped character as one that no markup is made of."""
    return BACK.sub(lambda m: chr(HELD + ord(m[1])), markdown.replace("&#64;", "\\@"))


def released(text: str) -> str:
    """`held` undone, for HTML."""
    return re.sub("[\ue021-\ue07e]", lambda m: escape(chr(ord(m[0]) - HELD)), text)
