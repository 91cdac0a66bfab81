"""Every figure of a text, looked up in the records: what no record holds is somebody's invention.

In: text and the numbers of the evidence. Out: the figures that are in none. A figure agrees with a recorded number
that rounds to it in the unit it is shown in. Code blocks count too. Names (`A2`, `W8A8`), section numbers, links and
hashes are no figures.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from seatrial.core.record import Record, to_plain
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.scores import Scored

FIGURE = re.compile(r"(?<![\w.,/:#+-])(-?\d[\d,]*(?:\.\d+)?)(?![\w/]|[.,:-]\d)")
# A hash holds digits, but no figure: else every small count would be in some record.
HASH = re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-f]*[a-f])[0-9a-f]{6,}(?![0-9A-Za-z])")
RECORDED = re.compile(r"\d[\d,]*(?:\.\d+)?")
MINUTES = re.compile(r"\b(\d[\d,]*) min (\d+) s\b")
DROPPED = (
    re.compile(r"\]\([^)]*\)"),  # the target of a link
    re.compile(r"\b[0-9a-f]{12,64}\b"),
    re.compile(r"^#+ .*$", re.M),  # a heading's own number
    re.compile(r"\b\d{8}-\d{6}\b"),
)
# Units a recorded number may be shown in: bytes, seconds, fractions, counts.
SCALES = (1.0, 1e3, 1e-3, 1e-6, 1e-9, 1e-12, 100.0, 1 / 2**10, 1 / 2**20, 1 / 2**30, 1 / 2**40)
# Constants of the field that texts of ours name, with their source.
CONSTANTS = {
    8000.0: "vLLM's default port",
    200.0: "HTTP: OK",
}


class Unfounded(Record):
    figure: str
    line: int
    text: str


class Numbers:
    """The numbers of the evidence, sorted."""

    def __init__(self, values: Iterable[float]) -> None:
        self._sorted = sorted({float(v) for v in values if math.isfinite(v)} | set(CONSTANTS))

    def __len__(self) -> int:
        return len(self._sorted)

    def near(self, value: float, tolerance: float) -> bool:
        """Whether a recorded number lies within `tolerance`."""
        n = bisect.bisect_left(self._sorted, value - tolerance)
        return n < len(self._sorted) and self._sorted[n] <= value + tolerance

    def has(self, shown: str) -> bool:
        """Whether some recorded number, in some unit, rounds to what is shown."""
        plain = shown.replace(",", "")
        decimals = len(plain.partition(".")[2])
        value = float(plain)
        half = 0.5 * 10**-decimals + 1e-9
        # A whole number is a count, and counts are not rounded: only an equal one will do, unless it has a unit.
        scales = SCALES if decimals else (1.0,)
        for scale in scales:
            low, high = (value - half) / scale, (value + half) / scale
            if not decimals:
                low, high = value - 1e-9, value + 1e-9
            n = bisect.bisect_left(self._sorted, min(low, high))
            if n < len(self._sorted) and self._sorted[n] <= max(low, high):
                return True
        return False


def numbers_of(view: EvidenceView, scored: Scored | None = None) -> Numbers:
    """Of the manifest, every record, every step's facts, the requests that were sent, and the quoted scores."""
    values: list[float] = list(_numbers(to_plain(view.manifest)))
    for entry in view.run.log.entries:
        values += _numbers(to_plain(entry.body))
        values.append(entry.seq)
    for step, known in view.gathered.steps.items():
        values += _numbers(known.facts)
        for ref in known.stored.artifacts:
            if ref.name.startswith("request-"):
                values += _in_text(view.text(step, ref.name))
    if scored is not None:
        values += [n for s in scored.quoted for n in (s.value, float(s.n), s.stderr or 0.0, float(s.num_fewshot or 0))]
    # Counts of what is listed are derived figures of these records.
    values += [float(len(view.features())), float(len(view.starts()))]
    return Numbers(values)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, str):
        yield from _in_text(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _in_text(str(key))
            yield from _numbers(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner)


def _in_text(text: str) -> Iterator[float]:
    for found in RECORDED.findall(HASH.sub(" ", text[:20000])):
        clean = found.replace(",", "")
        if len(clean) < 18:
            yield float(clean)


def unfounded(text: str, numbers: Numbers, *, also: Iterable[str] = ()) -> list[Unfounded]:
    """`also`: figures that the receiving repository's own text has (an image tag, a template)."""
    known = set(also)
    for pattern in DROPPED:
        text = pattern.sub(lambda m: " " * len(m[0]), text)
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        # The number of a list's item is layout.
        body = re.sub(r"^\s*\d+\.\s", " ", line)
        for minutes in MINUTES.finditer(body):
            if numbers.near(int(minutes[1].replace(",", "")) * 60 + int(minutes[2]), 0.5):
                body = body.replace(minutes[0], " ")
        for shown in FIGURE.findall(body):
            if shown not in known and not numbers.has(shown):
                found.append(Unfounded(figure=shown, line=number, text=" ".join(line.split())[:160]))
    return found
