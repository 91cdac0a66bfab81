"""What the triage's second opinion is learned from, as weighted words: read by _triage_fit.py and its commands."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from seatrial.triage import by_family, reading
from seatrial.triage.categories import UNKNOWN
from seatrial.triage.signature import Kind, Tier

DATA = Path(__file__).parent.parent / "tests" / "triage" / "data"
SITE = "/opt/venv/lib/python3.11/site-packages/"
HEAD = "(EngineCore_DP0 pid=243) ERROR 05-12 10:41:24 [core.py:843] "
DOUBTED = 0.4  # how often an incident counts whose label its writer doubted
REFERENCE = 3.0  # how often an incident of the FILEs counts: they show how labels are chosen


class Case(NamedTuple):
    """`key` is the file's stem and the incident's id, `thread` its page (or id): two may tell of one failure."""

    key: str
    thread: str
    labels: tuple[str, ...]
    words: dict[str, float]
    times: float = 1.0  # how often it counts


def label(case: dict) -> tuple[str, ...]:
    found = [c for c in (case["category"], case.get("secondary_category")) if c]
    return tuple(UNKNOWN if c == "none" else c for c in found)


def words_of(log: str) -> dict[str, float]:
    return reading([BytesIO(log.encode("utf-8", "surrogatepass"))]).words


def incidents(path: Path, times: float = 1.0) -> list[Case]:
    """The incidents of a file but those whose log is a file without any sign of the failure.

    Such a log would teach that every clean start is that failure.
    """
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = str(row.get("id") or row["file"])
        found = reading(
            [BytesIO(row["log"].encode("utf-8", "surrogatepass")) if "log" in row else path.parent / row["file"]]
        )
        if "log" in row or found.focus is not None:
            names = label(row)
            if times > 1 and found.rule in names:
                # Both names are right there: that the words give another one than the signature helps nobody.
                names = (found.rule, *(n for n in names if n != found.rule))
            thread = str(row.get("url") or name).replace("/pull/", "/issues/")
            counts = DOUBTED if row.get("label_confidence") == "low" and times == 1 else times
            out.append(Case(f"{path.stem}/{name}", thread, names, found.words, counts))
    return out


def message_log(line: str) -> str:
    """A line of messages.txt as the log of an engine that fails so."""
    _, frame, text = (part.strip() for part in line.split("||", 2))
    text = text.replace("\\n", "\n").replace("\\t", "\t")
    if not frame:
        return text
    path, function, code = (*frame.split(":", 2), "", "")[:3]
    place = f'  File "{SITE}{path}", line 88, in {function or "f"}'
    lines = ["Traceback (most recent call last):", place, f"    {code or 'raise'}", *text.split("\n")]
    return "\n".join(HEAD + part for part in lines)


def messages(path: Path) -> list[Case]:
    lines = [x for x in path.read_text(encoding="utf-8").splitlines() if x and not x.startswith("#")]
    return [
        Case("", "", tuple(c.strip() for c in x.split("||")[0].split(",")), words_of(message_log(x))) for x in lines
    ]  # fmt: skip


def own_cases() -> list[Case]:
    return [
        Case("", "", (s.category,), words_of(text))
        for family in by_family().values() for s in family
        # What means this only in a context says nothing by its words.
        if s.kind is Kind.ROOT and s.tier > Tier.WEAK and not s.context
        for text in s.matches
    ]  # fmt: skip


def every_incident(files: list[Path]) -> list[Case]:
    """Those of tests/triage/data and of the files given, one of a key."""
    cases: dict[str, Case] = {}
    for path in sorted(DATA.glob("public_incidents*.jsonl")):
        cases.update((case.key, case) for case in incidents(path))
    for path in files:
        cases.update((case.key, case) for case in incidents(path, REFERENCE))
    return list(cases.values())
