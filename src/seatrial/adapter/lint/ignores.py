"""Comments that answer for a problem: `# seatrial: ignore[VLM014] one line of reason`.

The reason is required: a comment without one silences nothing and is reported, as is one that nothing fires under.
"""

from __future__ import annotations

import io
import re
import tokenize
from typing import NamedTuple

MARK = b"seatrial: ignore"
FORM = re.compile(r"#\s*seatrial:\s*ignore(?:\[([A-Z0-9,\s]*)\])?(.*)$")
CODE = re.compile(r"^[A-Z]{3}\d{3}$")


class Ignore(NamedTuple):
    """One comment. `codes` empty: malformed. `line` is where it stands."""

    line: int
    codes: tuple[str, ...]
    reason: str


def read_ignores(source: bytes) -> list[Ignore]:
    """The comments of a file; those inside strings are none."""
    if MARK not in source:
        return []
    out: list[Ignore] = []
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            if token.type == tokenize.COMMENT:
                match = FORM.search(token.string)
                if match is not None:
                    codes = tuple(c for c in re.split(r"[,\s]+", match.group(1) or "") if c)
                    out.append(Ignore(token.start[0], codes, match.group(2).strip(" \t-:.")))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return out  # the file does not parse either, and that is reported
    return out


def plain_ignores(data: bytes) -> list[Ignore]:
    """The comments of a file that is no Python, line by line."""
    out = []
    for number, line in enumerate(data.split(b"\n") if MARK in data else (), 1):
        match = FORM.search(line.decode("utf-8", "replace").rstrip("\r"))
        if match is not None:
            codes = tuple(c for c in re.split(r"[,\s]+", match.group(1) or "") if c)
            out.append(Ignore(number, codes, match.group(2).strip(" \t-:.")))
    return out


def fault(ignore: Ignore, known: set[str]) -> str:
    """What is wrong with a comment's form; "" if nothing."""
    if not ignore.codes:
        return "an ignore comment names its codes: `# seatrial: ignore[CODE] reason`"
    unknown = [c for c in ignore.codes if c not in known]
    if unknown:
        return f"an ignore comment names {', '.join(unknown)}, which is no rule"
    if len(ignore.reason) < 3:
        return f"an ignore comment for {', '.join(ignore.codes)} gives no reason, so it silences nothing"
    return ""
