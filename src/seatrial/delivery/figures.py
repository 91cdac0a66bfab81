"""Every figure of a text, looked up in the records by what it is a figure of: what no record holds is an invention.

In: text and the numbers of the evidence. Out: the figures that nothing backs. A figure is backed by a recorded text
that has it between the same words (a quoted line, a command, a request), or by a recorded number of the field that its
unit, column or label names, which rounds to it. A figure that nothing labels must be in some record in its own unit,
and a small whole number without a label is never backed: too many records hold one. Names (`A2`, `W8A8`), section
numbers, links and hashes are no figures.
"""

from __future__ import annotations

import bisect
import html
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from seatrial.core.record import Record, to_plain
from seatrial.delivery.benches import Benched, BenchSeen
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.figure_labels import QUOTED, advised, kind_of, named
from seatrial.delivery.planned import backing, planned_of
from seatrial.delivery.scores import Scored
from seatrial.delivery.serve import DEFAULT_PORT
from seatrial.evidence import ADVICE
from seatrial.measure.compare.statistics import TIE

FIGURE = re.compile(r"(?<![\w.,/:#+-])([+-]?\d[\d,]*(?:\.\d+)?)(?![\w/]|[.,:-]\d)")
WORD = re.compile(r"\d[\d,]*(?:\.\d+)?|[^\W\d_](?:[^\W\d_]|[_-](?=[^\W\d_]))*|%")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
# A hash holds digits, but no figure: else every small count would be in some record.
HASH = re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-f]*[a-f])[0-9a-f]{6,}(?![0-9A-Za-z])")
ENDS = re.compile(r"[^\w\s%]\s*$")
STARTS = re.compile(r"\s*[^\w\s%]")
MINUTES = re.compile(r"\b(\d[\d,]*) min (\d+) s\b")
FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
DROPPED = (
    re.compile(r"\]\([^)]*\)"),  # the target of a link
    re.compile(r"(?<![\w.])(?=[0-9a-f]*[a-f])[0-9a-f]{12,64}\b"),
    re.compile(r"^#+ .*$", re.M),  # a heading's own number
    re.compile(r"\b\d{8}-\d{6}\b"),
)
# Units a recorded number may be shown in where no unit is seen: bytes, seconds, fractions, counts.
SCALES = (1.0, 1e3, 1e-3, 1e-6, 1e-9, 1e-12, 100.0, 1 / 2**10, 1 / 2**20, 1 / 2**30, 1 / 2**40)
SMALL = 10_000  # below it a whole number needs a label: by chance nearly every one is in some record of a run
LONGEST = 20_000  # characters of one recorded text that are looked at
# Constants of the field that texts of ours name: path, value and their source.
CONSTANTS = (("constant.http", 200.0), ("constant.tie.change", TIE))


class Unfounded(Record):
    figure: str
    line: int
    text: str


class _Place(Record):
    """A figure with its cell's or sentence's text on both sides, and the headings it stands under, nearest first."""

    shown: str
    before: str
    after: str
    line: int
    headings: tuple[str, ...] = ()
    in_code: bool = False
    is_quote: bool = False


class Numbers:
    """The numbers of the evidence by path, and each number of a recorded text between its two words."""

    def __init__(
        self,
        numbers: Iterable[tuple[str, float]],
        texts: Iterable[str] = (),
        pairs: Iterable[str] = (),
        advice: Iterable[tuple[str, float]] = (),
    ) -> None:
        """`pairs`: names with their values, as code sets them. `advice`: what was predicted and what it was held
        against, which back nothing but the table that shows them.
        """
        self._advice = {path: value for path, value in advice if math.isfinite(value)}
        values = {(v, path.lower()) for path, v in (*numbers, *CONSTANTS) if math.isfinite(v)}
        self._sorted = sorted(values)
        self._between = {t for text in texts for t in _between(HASH.sub(" ", text[:LONGEST]))}
        pairs_between = {t for pair in pairs for t in _between(pair)}
        self._after = {(before, number) for before, number, _ in self._between | pairs_between if before}
        # Where no unit is seen, numbers of texts count too.
        self._all = sorted({v for v, _ in self._sorted} | {n for _, n, _ in self._between})

    def __len__(self) -> int:
        return len(self._all)

    def near(self, value: float, tolerance: float, field: str) -> bool:
        """Whether a recorded number of that field lies within `tolerance`."""
        n = bisect.bisect_left(self._sorted, (value - tolerance, ""))
        while n < len(self._sorted) and self._sorted[n][0] <= value + tolerance:
            if re.search(field, self._sorted[n][1]):
                return True
            n += 1
        return False

    def backs(self, place: _Place) -> bool:
        plain = place.shown.replace(",", "")
        decimals = len(plain.partition(".")[2])
        value = float(plain)
        if advice := advised(place.after, place.headings):
            known = self._advice.get(advice.field)
            return known is not None and abs(known * advice.scale - value) <= 0.5 * 10**-decimals + 1e-9
        kind = None if place.is_quote else named(place.after, place.headings)
        if kind is None and self._quoted(place, abs(value)):
            return True
        if place.is_quote:
            return False
        # A whole number is a count, and counts are not rounded: only an equal one will do, unless it has a unit.
        kind = kind or kind_of(place.before, place.after, place.headings)
        if kind is not None:
            half = 0.5 * 10**-decimals if decimals or kind.scale != 1.0 else 0.0
            return self.near(value / kind.scale, (half + 1e-9) / kind.scale, kind.field)
        if not decimals and abs(value) < SMALL:
            return False
        half = 0.5 * 10**-decimals + 1e-9 if decimals else 1e-9
        return any(
            self._any((value - half) / scale, (value + half) / scale) for scale in (SCALES if decimals else (1.0,))
        )

    def _quoted(self, place: _Place, value: float) -> bool:
        """Whether a recorded text has the number between these words. Where punctuation stands between, the recorded
        text may have begun or ended there.
        """
        before = (WORD.findall(place.before) or [""])[-1].lower()
        if place.in_code:
            return (before, value) in self._after
        after = (WORD.findall(place.after) or [""])[0].lower()
        starts = {before, ""} if ENDS.search(place.before) else {before}
        ends = {after, ""} if STARTS.match(place.after) else {after}
        return any((one, value, two) in self._between for one in starts for two in ends if one or two)

    def _any(self, low: float, high: float) -> bool:
        n = bisect.bisect_left(self._all, min(low, high))
        return n < len(self._all) and self._all[n] <= max(low, high)


def numbers_of(view: EvidenceView, scored: Scored | None = None, benched: Benched | None = None) -> Numbers:
    """Of the manifest, every record, every step's facts, the requests that were sent, the quoted scores and benches."""
    numbers: list[tuple[str, float]] = []
    texts: list[str] = []
    pairs: list[str] = [f"--port {DEFAULT_PORT}"]
    _walk("manifest", to_plain(view.manifest), numbers, texts, pairs)
    for entry in view.run.log.entries:
        _walk(entry.kind, to_plain(entry.body), numbers, texts, pairs)
        numbers.append(("record.seq", float(entry.seq)))
    for step, known in view.gathered.steps.items():
        if step in ADVICE:
            continue  # what was predicted is no source of a figure that a text gives as seen
        _walk(step, known.facts, numbers, texts, pairs)
        for ref in known.stored.artifacts:
            if ref.name.startswith("request-"):
                texts.append(view.text(step, ref.name))
    for ladder in view.ladders():
        _walk("ladder", ladder.facts, numbers, texts, pairs)
    for row in view.features():
        texts += row.proofs
    for score in scored.quoted if scored is not None else ():
        numbers += [("score.value", score.value), ("score.n", float(score.n))]
        numbers += [("score.stderr", score.stderr or 0.0), ("score.num_fewshot", float(score.num_fewshot or 0))]
        texts.append(f"{score.tool} {score.tool_version}")
    texts += scored.refused if scored is not None else ()
    for bench in benched.quoted if benched is not None else ():
        _bench(bench, numbers, texts, pairs)
    texts += benched.refused if benched is not None else ()
    return Numbers(numbers, texts, pairs, backing(planned_of(view)))


def _bench(bench: BenchSeen, numbers: list[tuple[str, float]], texts: list[str], pairs: list[str]) -> None:
    """The workload, the comparison, and each side's means over its repeats: what a text shows of a bench."""
    _walk("bench.workload", to_plain(bench.workload), numbers, texts, pairs)
    _walk("bench.verdict", to_plain(bench.judged), numbers, texts, pairs)
    for side in bench.sides:
        numbers += [(f"bench.side.{name}", value) for name, value in side.figures.items() if value is not None]
        numbers.append(("bench.side.runs", float(side.runs)))
        texts += (side.label, side.setting, *side.unknown.values(), *side.doubts)


def _walk(path: str, value: Any, numbers: list[tuple[str, float]], texts: list[str], pairs: list[str]) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        numbers.append((path, float(value)))
    elif isinstance(value, str):
        texts.append(value)
        # A size that a target gives as text is a number of its field all the same.
        if len(value) < 18 and NUMBER.fullmatch(value):
            numbers.append((path, float(value.replace(",", ""))))
    elif isinstance(value, dict):
        for key, inner in value.items():
            texts.append(str(key))
            if isinstance(inner, (str, int, float)):
                pairs.append(f"{key} {inner}"[:200])
            # A quantity's value is a number of the field that holds it.
            _walk(path if key == "value" else f"{path}.{key}", inner, numbers, texts, pairs)
    elif isinstance(value, (list, tuple)):
        if value and all(isinstance(v, str) for v in value):
            # A command's words are one text: a flag stands before its number.
            texts.append(" ".join(value))
        for inner in value:
            _walk(path, inner, numbers, texts, pairs)


def _between(text: str) -> Iterator[tuple[str, float, str]]:
    """Each number of a text with the words around it, empty at the text's ends."""
    words = ["", *(w.lower() for w in WORD.findall(text)), ""]
    for before, word, after in zip(words, words[1:], words[2:], strict=False):
        if word[:1].isdigit() and len(word) < 18:
            yield before, float(word.replace(",", "")), after


def unfounded(text: str, numbers: Numbers, *, also: Iterable[str] = ()) -> list[Unfounded]:
    """`also`: figures that the receiving repository's own text has (an image tag, a template)."""
    known = set(also)
    for pattern in DROPPED:
        text = pattern.sub(lambda m: " " * len(m[0]), text)
    lines = text.split("\n")
    return [
        Unfounded(figure=place.shown, line=place.line, text=" ".join(lines[place.line - 1].split())[:160])
        for place in _places(lines, numbers)
        if place.shown not in known and not numbers.backs(place)
    ]


def _places(lines: list[str], numbers: Numbers) -> Iterator[_Place]:
    """Every figure with what it stands in: a table's cell, a line of prose, or a block of code as a whole."""
    header: list[str] = []
    block: list[str] | None = None
    for number, line in enumerate(lines, start=1):
        if FENCE.match(line):
            if block is not None:
                yield from _in_code(block, number)
            block = [] if block is None else None
        elif block is not None:
            block.append(line)
        elif line.lstrip().startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            header = header or cells
            for column, cell in enumerate(cells):
                title = header[column] if column < len(header) else ""
                # In a table of two columns the first one names what the second holds.
                near = (title, cells[0]) if len(cells) > 2 else (cells[0], title)
                is_quote = len(cells) > 2 and QUOTED.search(title) is not None
                yield from _in_prose(cell, number, near, numbers, is_quote=is_quote)
        else:
            header = []
            # The number of a list's item is layout.
            for sentence in re.split(r"[：；，。（）“”]", re.sub(r"^\s*\d+\.\s", " ", line)):
                yield from _in_prose(sentence, number, (line,), numbers)


def _in_code(block: list[str], end: int) -> Iterator[_Place]:
    whole = "\n".join(block)
    for found in FIGURE.finditer(whole):
        line = end - len(block) + whole.count("\n", 0, found.start())
        # What stands before it says what it is: `--flag 4`, `NAME=4`, `"key": 4`.
        yield _Place(
            shown=found[1],
            before=whole[max(0, found.start() - 80) : found.start()],
            after="",
            line=line,
            in_code=True,
            is_quote=True,
        )


def _in_prose(
    text: str, line: int, headings: tuple[str, ...], numbers: Numbers, *, is_quote: bool = False
) -> Iterator[_Place]:
    text = html.unescape(text).replace("\\", "")
    for minutes in MINUTES.finditer(text):
        if numbers.near(int(minutes[1].replace(",", "")) * 60 + int(minutes[2]), 0.5, r"(_s|seconds|duration)$"):
            text = text.replace(minutes[0], " " * len(minutes[0]))
    for found in FIGURE.finditer(text):
        before, after = text[max(0, found.start() - 80) : found.start()], text[found.end() : found.end() + 40]
        yield _Place(shown=found[1], before=before, after=after, line=line, headings=headings, is_quote=is_quote)
