"""CANN's own table of error codes, where one is installed.

The file `error_code.json` (found below ASCEND_HOME_PATH or ASCEND_TOOLKIT_HOME) maps a code such as EI0006 to a message
and a solution. Codes in circulating lists that no table confirms are not used.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

CODE = re.compile(r"\bE[A-Z0-9]\d{4}\b")
PLACES = (
    "runtime/conf/error_manager/error_code.json",
    "conf/error_manager/error_code.json",
    "compiler/conf/error_manager/error_code.json",
)
PLACEHOLDER = re.compile(r"%[sdu]")
MAX_TABLE = 8 << 20


def table_file() -> Path | None:
    """The installed table, if any."""
    for variable in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        root = os.environ.get(variable)
        for place in PLACES if root else ():
            path = Path(str(root)) / place
            if path.is_file() and path.stat().st_size <= MAX_TABLE:
                return path
    return None


@cache
def read_table(path: Path) -> dict[str, str]:
    """Code to "title; message; cause; solution". An unreadable table is an empty one: it is only an addition."""
    try:
        data: Any = msgspec.json.decode(path.read_bytes().decode("utf-8-sig", "replace"))
    except (OSError, msgspec.DecodeError, RecursionError):
        return {}
    found: dict[str, str] = {}
    entries = data.get("error_info_list", []) if isinstance(data, dict) else data
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        code = entry.get("ErrCode") or entry.get("errCode")
        advice = entry.get("suggestion")
        if not isinstance(code, str):
            continue
        if not isinstance(advice, dict):
            advice = {"Solution": advice}
        words = (
            _words(entry.get("errTitle")),
            _words(entry.get("ErrMessage")),
            _words(advice.get("Possible Cause"), "Possible cause: "),
            _words(advice.get("Solution"), "Solution: "),
        )
        found[code] = "; ".join(filter(None, words))
    return found


def _words(value: Any, head: str = "") -> str:
    """A field as one line; "" where the table leaves it open."""
    text = " ".join(str(v) for v in value) if isinstance(value, list) else value if isinstance(value, str) else ""
    text = PLACEHOLDER.sub("<...>", " ".join(text.split())).rstrip(". ")
    return head + text if text.strip("N/A. ") else ""


def explain(text: str) -> str:
    """What the installed table says about the codes in `text`; "" without a table or a known code."""
    path = table_file()
    if path is None:
        return ""
    table = read_table(path)
    return " ".join(f"{code}: {table[code]}." for code in dict.fromkeys(CODE.findall(text)) if table.get(code))
