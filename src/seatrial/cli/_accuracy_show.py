"""How the results of `seatrial accuracy` are shown to a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from seatrial.cli.common import STYLES, leave, out, print_json

if TYPE_CHECKING:
    from seatrial.core.step import StepResult
    from seatrial.workflow.accuracy import AccuracyEnded


def show(
    result: StepResult, as_json: bool, lines: Callable[[Any], list[str]], ended: AccuracyEnded | None = None
) -> None:
    """Print a result and leave with its verdict; `ended`: the run it is kept in, whose verdict counts."""
    from seatrial.core.record import to_plain

    verdict = ended.verdict if ended is not None else result.outcome.verdict
    if as_json:
        kept = {"run_id": ended.run_id, "folder": ended.folder, "verdict": verdict.value} if ended is not None else {}
        print_json({**to_plain(result), **kept})
        leave(verdict)
    console = out()
    for line in lines(result.facts):
        console.print(line, markup=False)
    for finding in result.findings:
        console.print(finding.one_line(), markup=False)
        if finding.next_step:
            console.print(f"     {finding.next_step}", markup=False)
    console.print(f"[{STYLES[verdict]}]{verdict.value}[/]", end=": ")
    told = ended.reason if ended is not None and verdict is not result.outcome.verdict else result.outcome.reason
    console.print(told or result.summary, markup=False)
    if ended is not None:
        console.print(f"kept: {ended.folder}", markup=False)
    leave(verdict)


def parity_lines(facts: Any) -> list[str]:
    lines = [f"{facts.engine} ({facts.how}, {facts.serving_dtype}) against {facts.reference} ({facts.truth_dtype})"]
    for b in facts.bands:
        if b.positions:
            told = ", ".join(f"{a:.2f}" for a in b.amplitudes)
            lines.append(f"{b.part}: {b.positions} positions, {told} times the noise at 50, 75, 90 %; {b.far} far")
    lines.append(
        f"best token agrees at {100 * facts.agreement:.1f} %, best five overlap {100 * facts.top_overlap:.1f} %"
    )
    return lines


def locate_lines(facts: Any) -> list[str]:
    rows = list(facts.rows)
    if facts.first is not None:
        place = rows.index(facts.first)
        rows = rows[max(0, place - 4) : place + 3]
    else:
        rows = rows[-5:]
    lines = []
    for r in rows:
        mark = "->" if r is facts.first or r == facts.first else "  "
        numbers = f"{r.relative:.2e} (noise {r.noise:.2e}, cosine {r.cosine:.5f})"
        lines.append(f"{mark} {'decode ' if r.step else ''}{r.key}: {numbers}{'  outside' if r.out else ''}")
    ways = Counter(r.by for r in facts.rows)
    counted = ", ".join(f"{count} outputs by {way}" for way, count in sorted(ways.items(), reverse=True))
    lines.append(f"module map: {facts.account}; matched: {counted or 'none'}")
    for title, keys in (
        ("of the engine without a counterpart", facts.unmatched),
        ("of the reference without a counterpart", facts.only_reference),
        ("not judged, a router's near-ties sent all tokens elsewhere or the reference has no numbers", facts.unjudged),
        ("not in the dump", facts.dropped),
    ):
        if keys:
            lines.append(f"{title}: {', '.join(keys[:6])}{f' and {len(keys) - 6} more' if len(keys) > 6 else ''}")
    return lines


def compare_lines(facts: Any) -> list[str]:
    lines = [f"{s.name}: {s.questions} questions, {s.first:.3f} -> {s.second:.3f}, p {s.p:.3g}" for s in facts.subsets]
    lines += [f"index {c.id}: {c.first} -> {c.second} ({c.how}, {c.kind})" for c in facts.changed[:20]]
    if facts.stable_bad:
        lines.append(f"wrong in every repeat: {', '.join(facts.stable_bad[:20])}")
    return lines


def cell_line(cell: Any) -> str:
    """One line of the matrix."""
    counted = f"{cell.agreement.equal}/{cell.agreement.prompts} " if cell.agreement else ""
    return f"{cell.variant.name:12} {cell.state:9} {counted}{cell.reason or cell.variant.says}"


def ab_lines(facts: Any) -> list[str]:
    rows = [(c, *c.milder) for c in facts.cells]
    return [("  " if number else "") + cell_line(c) for row in rows for number, c in enumerate(row)]
