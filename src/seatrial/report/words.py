"""Values as words: numbers with units, and text from checkpoints and logs made visible. Pure functions.

Nothing here escapes for HTML or Markdown; that, and calling `visible`, is the business of the writer of each.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

# Control characters (but tab and newline), bidirectional overrides, zero-width characters, fillers, variation
# selectors, tags, lone surrogates: a name must not be able to look like another one.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def visible(text: str) -> str:
    """`text` with every character one cannot see written as its code, `\\u202e`."""
    return HIDDEN.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def count(number: int) -> str:
    return f"{number:,}"


def seconds(value: float) -> str:
    """A duration given in seconds."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) < 0.0001:
        return "0 s"
    if 0 < value < 0.1:
        return f"{value * 1000:.1f} ms"
    if value >= 120:
        whole = round(value)
        return f"{whole // 60:,} min {whole % 60} s"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def size(number: int) -> str:
    """A size given in bytes."""
    value, unit = float(number), 0
    # What would be written as 1,024.0 of a unit is 1.0 of the next.
    while abs(value) >= (1023.95 if unit else 1024) and unit < len(BINARY) - 1:
        value, unit = value / 1024, unit + 1
    return f"{number:,} B" if unit == 0 else f"{value:,.1f} {BINARY[unit]}"


def billions(number: int) -> str:
    """A number of parameters as the field says it: 671.0 B, 8.2 M."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        # What would be written as 1000.0 of a unit is 1.0 of the next.
        if abs(number) >= (limit if unit == "k" else 0.99995 * limit):
            return f"{number / limit:.1f} {unit}"
    return count(number)


def scalar(value: Any) -> str:
    """A string, number, boolean or null of JSON."""
    if value is None:
        return "unknown"
    if value is True:
        return "yes"
    if value is False:
        return "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:,.6g}"
    return str(value)


def label(key: str) -> str:
    """A key of a record as a heading: `kv_heads` becomes `kv heads`."""
    return key.replace("_", " ")


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def between(first: str, last: str) -> float | None:
    """Seconds from one time of the records to another; None for what is no time, or the wrong way round."""
    try:
        took = (datetime.fromisoformat(_plain(last)) - datetime.fromisoformat(_plain(first))).total_seconds()
    except (ValueError, TypeError):
        return None
    return took if took >= 0 else None


def _plain(iso: str) -> str:
    # Python 3.10 does not read the Z.
    return re.sub(r"Z$", "+00:00", iso)


def moment(iso: str) -> str:
    """A time of UTC as records hold it, for people: `2026-01-31 12:00:00 UTC`. Another text stays as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:\+00:00|Z)", iso)
    return f"{found[1]} {found[2]} UTC" if found else iso


def logged(what: str, value: float) -> str:
    """A figure of the engine's log (estimate/from_log.py) with its unit: tokens, requests or bytes."""
    if what in ("tokens", "length"):
        return f"{count(round(value))} tokens"
    return f"{value:,.2f} requests" if what == "concurrency" else size(round(value))
