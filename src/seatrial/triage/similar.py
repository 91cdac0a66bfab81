"""Whether two failures say the same: their texts with numbers, paths, addresses, quoted names and time freed."""

from __future__ import annotations

import re

VARIABLE = re.compile(r"0x[0-9a-fA-F]+|/[\w./-]+|\d+(?:\.\d+)*|'[^']{1,200}'|\"[^\"]{1,200}\"")
MAX_TEXT = 1000


def normal(text: str) -> str:
    """The text in a form that two occurrences of one failure share."""
    return " ".join(VARIABLE.sub("#", text[:MAX_TEXT]).split()).lower()
