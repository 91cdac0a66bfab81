"""What a report is made of, before it is HTML or Markdown: sections of blocks, each a plain record.

All text is unescaped and may be hostile; the two writers escape it. Links are relative to the run's folder.
"""

from __future__ import annotations

from typing import Literal

from seatrial.core.record import Record
from seatrial.core.step import Span
from seatrial.report.charts import Curve, Lanes
from seatrial.report.plots import Bar, Plot

# What a table without rows says.
EMPTY = "Nothing is recorded here"
Tone = Literal["", "pass", "fail", "inconclusive", "not-applicable", "not-run", "unknown", "error", "warning", "info"]


class Cell(Record):
    """A value. `note` is its source, reason or unit, in small print; `is_code` sets it in a fixed-width face."""

    text: str
    note: str = ""
    href: str = ""
    tone: Tone = ""
    is_code: bool = False
    more: tuple[Cell, ...] = ()


class Paragraph(Record):
    text: str
    kind: Literal["paragraph"] = "paragraph"


class Notice(Record):
    """A box that must not be overlooked."""

    tone: Tone
    title: str
    text: str = ""
    kind: Literal["notice"] = "notice"


class Pair(Record):
    label: str
    value: Cell


class Pairs(Record):
    """Labels with their values."""

    rows: tuple[Pair, ...]
    title: str = ""
    kind: Literal["pairs"] = "pairs"


class Column(Record):
    title: str
    is_number: bool = False


class Table(Record):
    """`left_out` says in words what is not in the rows; empty when they are all."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    left_out: str = ""
    kind: Literal["table"] = "table"


class Code(Record):
    """Text to copy, or a piece of a log. `title` is its purpose."""

    text: str
    title: str = ""
    kind: Literal["code"] = "code"


class FindingRow(Record):
    severity: Tone
    code: str
    place: str
    message: str
    next_step: str
    step: str = ""


class Findings(Record):
    rows: tuple[FindingRow, ...]
    left_out: str = ""
    kind: Literal["findings"] = "findings"


class Timeline(Record):
    """Spans of one step; `total_s` is the step's duration."""

    spans: tuple[Span, ...]
    total_s: float
    left_out: str = ""
    kind: Literal["timeline"] = "timeline"


class TensorGroup(Record):
    """Tensors whose names differ only in numbers and that met the same fate.

    `pattern` has `*` for its numbers. `count` are all of them. `runs` are the members, where the facts name them: the
    numbers but the last, then the first and last value of the last; a name without a number has the runs `((),)`.
    `nbytes` is None where the facts do not say.
    """

    pattern: str
    fate: str
    tone: Tone
    count: int
    dtype: str = ""
    shape: str = ""
    target: str = ""
    note: str = ""
    nbytes: int | None = None
    runs: tuple[tuple[int, ...], ...] = ()


class Tensors(Record):
    """A table of tensors (or parameters), folded into groups that a script can search and unfold.

    The first groups are static text, all are in the embedded data. `id` is unique in the document.
    """

    id: str
    title: str
    groups: tuple[TensorGroup, ...]
    target_title: str
    things: str = "tensors"
    kind: Literal["tensors"] = "tensors"


class TreeGroup(Record):
    """Tensors whose names differ only in numbers (`*` in `pattern`, `runs` as in `TensorGroup`) and that met one fate.

    `places` may hold `{0}`, `{1}`: the name's numbers by position.
    """

    pattern: str
    fate: str
    tone: Tone
    about: str
    places: tuple[str, ...]
    why: str
    runs: tuple[tuple[int, ...], ...]


class Tree(Record):
    """Single tensors, as a tree by the parts of their names that a script draws and searches.

    `source` is the artifact that the tree was read from, relative to the run's folder.
    """

    id: str
    title: str
    groups: tuple[TreeGroup, ...]
    count: int
    source: str
    kind: Literal["tree"] = "tree"


class Fold(Record):
    """Blocks that are out of the way until asked for."""

    title: str
    blocks: tuple[Block, ...]
    is_open: bool = False
    kind: Literal["fold"] = "fold"


Block = (
    Paragraph | Notice | Pairs | Table | Code | Findings | Timeline | Tensors | Tree | Fold | Lanes | Curve | Plot | Bar
)


class Section(Record):
    """`id` is the anchor; `tone` and `verdict` are of a step, empty for others; `lead` is its line of summary."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    lead: str = ""
    verdict: str = ""
    tone: Tone = ""


class Document(Record):
    """A whole report."""

    title: str
    subtitle: str
    verdict: str
    tone: Tone
    seal: str
    is_signed_off: bool
    reason: str
    header: tuple[Pair, ...]
    sections: tuple[Section, ...]
    footer: str


def unknown(reason: str) -> Cell:
    """A value nobody knows, and why."""
    return Cell(text="unknown", note=reason, tone="unknown")
