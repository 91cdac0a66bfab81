"""A diagnosis on one screen: what matters most first, each part cut to what there is room for.

In: a diagnosis and the terminal. Out: rows, each no wider than the terminal and together no more than it shows. Where
the output is no terminal a text keeps its length, for who searches in it. What a log says is shown without control
characters: it could steer the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

    from seatrial.triage import Diagnosis, Mention

HEAD = 12  # columns of a row's name
SHORTEST = 20  # rows that are used on any terminal
WHOLE = 700  # columns of a text, and rows, where there is no terminal
LONGEST = 40
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


class Part(NamedTuple):
    """One thing to tell: `most` lines at most, and first come those of low `rank` where not all fit."""

    head: str
    text: str
    rank: int
    most: int = 1
    style: str = ""
    keep_end: bool = False  # of a text that is too long: a path says more at its end


class Row(NamedTuple):
    head: str
    text: str
    style: str


def rows(answer: Diagnosis, console: Console) -> list[Row]:
    """The rows to print; two of the terminal's stay free, for the command and the next prompt."""
    parts = _parts(answer)
    width = max(20, console.width - HEAD) if console.is_terminal else WHOLE
    height = console.height - 2 if console.is_terminal else LONGEST
    made = [(part, _lines(part, console, width)) for part in parts]
    left = max(SHORTEST, height)
    shown: set[int] = set()
    for index in sorted(range(len(made)), key=lambda i: made[i][0].rank):
        need = len(made[index][1])
        if need <= left:
            shown.add(index)
            left -= need
    found: list[Row] = []
    for index, (part, lines) in enumerate(made):
        if index in shown:
            found.extend(Row(part.head if not at else "", line, part.style) for at, line in enumerate(lines))
    return found


def _lines(part: Part, console: Console, width: int) -> list[str]:
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    text = CONTROL.sub(" ", part.text).strip()
    if part.most == 1:
        if cell_len(text) <= width:
            return [text]
        if part.keep_end:
            while cell_len(text) > width - 1:
                text = text[1:]
            return [f"…{text}"]
        return [set_cell_size(text, width - 1).rstrip() + "…"]
    lines = [line.plain.rstrip() for line in Text(text).wrap(console, width, overflow="fold")]
    if len(lines) > part.most:
        lines = [*lines[: part.most - 1], set_cell_size(" ".join(lines[part.most - 1 :]), width - 1).rstrip() + "…"]
    return lines


def _parts(answer: Diagnosis) -> list[Part]:
    sure = f"  (confidence {answer.confidence:.2f}, {answer.signature})" if answer.signature else ""
    style = "green" if answer.healthy else "red" if sure else "yellow"
    parts = [Part("category", answer.category + sure, 0, style=style)]
    cause = answer.first_cause
    if cause is not None:
        parts.append(Part("first cause", cause.text, 0, most=4))
        where = ", ".join(filter(None, [f"{cause.file}:{cause.line}", cause.process, cause.time]))
        if len(cause.processes) > 1:
            where += f" (and {len(cause.processes) - 1} other processes)"
        parts.append(Part("where", where, 0, most=2))
        frames = [f"{f.path}:{f.line} in {f.function}" for f in cause.frames[-3:]]
        ranks = (3, 2, 1)[3 - len(frames) :]
        parts += [Part("", text, rank, style="dim", keep_end=True) for text, rank in zip(frames, ranks, strict=True)]
    parts.append(Part("why", answer.explanation, 0, most=4))
    if not answer.signature and (more := [c for c in answer.candidates if c.category not in answer.explanation]):
        parts.append(Part("perhaps", ", ".join(f"{c.category} {c.probability:.2f}" for c in more), 1))
    parts.append(Part("next", answer.next_step, 0, most=4))
    if answer.rung:
        parts.append(Part("ladder", f"the rung `{answer.rung}` tests this before a full start", 2))
    parts += [Part("not read", f"{s.file}: {s.dropped}", 1, style="yellow") for s in answer.sources if s.dropped][:3]
    unread = sum(bool(s.dropped) for s in answer.sources)
    if unread > 3:
        parts.append(Part("", f"and {unread - 3} more files (--json has them)", 1, style="yellow"))
    for death in answer.deaths[:2]:
        place = f" ({death.file}:{death.line})" if death.line else ""
        parts.append(Part("died", f"{death.process or 'a process'} {death.meaning}{place}", 1, most=2))
    parts += [Part("collect", item, 2, most=2) for item in answer.collect]
    parts += _past(answer)
    for head, group, rank in (
        ("also", answer.others, 4), ("followed by", answer.consequences, 5), ("evidence", answer.evidence, 4),
    ):  # fmt: skip
        parts += _mentions(head, group, rank)
    if answer.wrappers or answer.noise or answer.unlisted:
        folded = f"{len(answer.noise)} noise lines, {len(answer.wrappers)} wrappers (--json lists them)"
        folded += f"; {answer.unlisted} more lines of all kinds" if answer.unlisted else ""
        parts.append(Part("ignored", folded, 3, style="dim"))
    return parts


def _mentions(head: str, group: tuple[Mention, ...], rank: int) -> Iterable[Part]:
    """The first two before other groups' later ones; how many there are is always told."""
    for at, mention in enumerate(group[:4]):
        times = f" (x{mention.count})" if mention.count > 1 else ""
        of = f" [1 of {len(group)}]" if at == 0 and len(group) > 1 else ""
        text = f"{mention.file}:{mention.line}{times}{of} {mention.text[:160]}"
        yield Part(head, text, rank if at < 1 else rank + 2 * at, style="dim")


def _past(answer: Diagnosis) -> Iterable[Part]:
    if answer.past is None:
        return
    for incident in answer.past.incidents[:2]:
        then = f"; passed later in {incident.later_pass}" if incident.later_pass else "; no later run passed"
        yield Part("seen before", f"{incident.run}/{incident.step} (same {incident.alike_by}){then}", 2, most=2)
    if answer.past.total > 2:
        yield Part("", f"and {answer.past.total - 2} more (--json has them)", 3, style="dim")
    if answer.past.unreadable:
        text = f"{answer.past.unreadable} runs of the workspace (see `seatrial runs verify`)"
        yield Part("not read", text, 1, style="yellow")
