"""Reports of comparisons, in English or Chinese: one per load, and a master over all loads with trends as SVG.

In: `Judged` and the runs behind it. Out: Markdown (and SVG texts) by file name. Where the runs are not comparable there
is only the list of why: no percentage, no winner, no chart. A better-than is given figure by figure in a fixed order,
and ends at the first figure that shows none, so that many figures make no false claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from seatrial.core.quantity import measured
from seatrial.core.record import Record
from seatrial.measure.compare.chart import line_chart
from seatrial.measure.compare.markup import code, inline
from seatrial.measure.compare.statistics import ALPHA, Comparison
from seatrial.measure.compare.verdict import FIGURES, BenchRun, Judged, figure
from seatrial.measure.compare.words import Language, figure_word, reason_of, word

STATISTICS = ("avg", "p50", "p90", "p99")
LATENCIES = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms")
THROUGHPUTS = ("request_throughput", "output_throughput", "total_throughput")
TRENDS = ("output_throughput", "request_throughput", "ttft_ms.p99", "tpot_ms.p99")


class Loaded(Record):
    """One load (a concurrency or a rate): the comparison and its runs. `historical` sides name their source."""

    judged: Judged
    a: tuple[BenchRun, ...]
    b: tuple[BenchRun, ...]
    historical: dict[str, str] = msgspec.field(default_factory=dict)

    def at(self) -> float:
        """Concurrency, or rate in an open loop."""
        metrics = self.a[0].metrics
        return float(metrics.concurrency or metrics.rate or 0)


def report(loaded: Loaded, language: Language) -> str:
    """The report of one load, Markdown."""
    judged = loaded.judged
    lines = [f"# {word('title', language)}: {inline(judged.label_a)} / {inline(judged.label_b)}", ""]
    lines += [
        f"**{word('verdict', language)}: {word(judged.answer, language)}**. {inline(reason_of(judged, language))}",
        "",
    ]
    lines += _histories(loaded, language)
    lines += _setup(judged, language)
    if judged.doubts:
        lines += [f"## {word('doubts', language)}", "", *(f"* {inline(d, begins=True)}" for d in judged.doubts), ""]
    lines += _runs(loaded, language)
    if judged.figures:
        lines += _figures(judged, language)
    else:
        lines += [word("no_percentages", language), ""]
    if judged.evidence:
        lines += [f"## {word('evidence', language)}", "", *(f"* {code(e)}" for e in judged.evidence), ""]
    return "\n".join(lines)


def master(loads: Sequence[Loaded], language: Language) -> dict[str, str]:
    """The master report over all loads, and its charts, by file name."""
    ordered = sorted(loads, key=Loaded.at)
    axis = "concurrency" if ordered[0].a[0].metrics.concurrency else "rate"
    first = ordered[0].judged
    lines = [f"# {word('master', language)}: {inline(first.label_a)} / {inline(first.label_b)}", ""]
    for loaded in ordered[:1]:
        lines += _histories(loaded, language)
    lines += [f"| {word(axis, language)} | {word('verdict', language)} | {word('reason', language)} |", "|---|---|---|"]
    for loaded in ordered:
        judged = loaded.judged
        lines.append(f"| {loaded.at():g} | {word(judged.answer, language)} | {inline(reason_of(judged, language))} |")
    lines.append("")
    files: dict[str, str] = {}
    comparable = [loaded for loaded in ordered if loaded.judged.figures]
    if len(comparable) < len(ordered):
        lines += [word("no_percentages", language), ""]
    for name in TRENDS if comparable and len(comparable) == len(ordered) else ():
        lines += _trend(comparable, name, axis, language, files)
    files["report.md"] = "\n".join(lines)
    return files


def better(judged: Judged) -> dict[str, str]:
    """Figure to the label of the side that is better there, by fixed-sequence testing.

    The judged figure first, then the others in the order of `FIGURES`, each at 5 %; the first that shows nothing ends
    it. So the chance of any false claim in the whole table stays at 5 % (Maurer et al. 1995), and no figure needs more
    runs than the judged one.
    """
    found: dict[str, str] = {}
    for name in (judged.judged_by, *(n for n in FIGURES if n != judged.judged_by)):
        result = judged.figures.get(name)
        if result is None:
            continue
        if result.p is None or result.p >= ALPHA or name in judged.tied:
            break
        found[name] = judged.label_b if (result.change > 0) == FIGURES[name] else judged.label_a
    return found


def unclaimed(judged: Judged, name: str) -> str:
    """The word for why no side is called better in a figure that `better` leaves out: its own noise, or its place."""
    result = judged.figures[name]
    if name in judged.tied:
        return "tie"
    return "after" if result.p is not None and result.p < ALPHA else "noise"


def _histories(loaded: Loaded, language: Language) -> list[str]:
    lines = [
        f"> {inline(label, begins=True)}: {word('history', language)} ({word('source', language)}: {inline(source)})"
        for label, source in loaded.historical.items()
    ]
    return [*lines, ""] if lines else []


def _setup(judged: Judged, language: Language) -> list[str]:
    fair = judged.fairness
    lines = [f"## {word('setup', language)}", "", f"{fair.same} {word('same', language)}.", ""]
    if fair.differences:
        sides = (inline(judged.label_a), inline(judged.label_b))
        head = (word("field", language), *sides, word("kind", language), word("why", language))
        lines += ["| " + " | ".join(head) + " |", "|---|---|---|---|---|"]
        for d in fair.differences:
            kind = word("forbidden" if d.kind == "forbidden" else "allowed", language)
            # What one side does without is not set there; what nobody could see is unknown.
            missing = "not_set" if d.kind == "allowed" else "unknown"
            a, b = (_cell(v, language, missing) for v in (d.a, d.b))
            lines.append(f"| {inline(d.field)} | {a} | {b} | {kind} | {inline(d.why)} |")
        lines.append("")
    return lines


def _runs(loaded: Loaded, language: Language) -> list[str]:
    lines = [f"## {word('runs', language)}", ""]
    head = [word("run", language), *(figure_word(t, language) for t in THROUGHPUTS)]
    lines += ["| " + " | ".join(head) + " | |", "|---" * (len(head) + 1) + "|"]
    for label, runs in ((loaded.judged.label_a, loaded.a), (loaded.judged.label_b, loaded.b)):
        for number, run in enumerate(runs, 1):
            cells = [_number(figure(run.metrics, t), language) for t in THROUGHPUTS]
            state = word("partial", language) if run.metrics.partial else ""
            lines.append(f"| {inline(label)} {number} | " + " | ".join(cells) + f" | {state} |")
    lines.append("")
    for latency in LATENCIES:
        lines += [f"| {word(latency, language)} | " + " | ".join(STATISTICS) + " |", "|---|---|---|---|---|"]
        for label, runs in ((loaded.judged.label_a, loaded.a), (loaded.judged.label_b, loaded.b)):
            for number, run in enumerate(runs, 1):
                values = [_number(figure(run.metrics, f"{latency}.{s}"), language) for s in STATISTICS]
                lines.append(f"| {inline(label)} {number} | " + " | ".join(values) + " |")
        lines.append("")
    return lines + _server(loaded, language)


def _server(loaded: Loaded, language: Language) -> list[str]:
    """Means on the server's own clock, where it counts them: the same clock whatever client is used."""
    rows = []
    for label, runs in ((loaded.judged.label_a, loaded.a), (loaded.judged.label_b, loaded.b)):
        for number, run in enumerate(runs, 1):
            seen = run.metrics.server
            if seen is not None and seen.ttft_ms is not None:
                values = (seen.ttft_ms, seen.e2e_ms, seen.queue_ms)
                cached = word("unknown", language) if seen.cached is None else f"{seen.cached:.0%}"
                rows.append(
                    f"| {inline(label)} {number} | "
                    + " | ".join(_number(v, language) for v in values)
                    + f" | {cached} |"
                )
    heads = [word(w, language) for w in ("server_clock", "ttft_ms", "e2e_ms", "queue_ms", "cached")]
    return ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *rows, ""] if rows else []


def _figures(judged: Judged, language: Language) -> list[str]:
    head = (
        word("figure", language),
        inline(judged.label_a),
        inline(judged.label_b),
        word("change", language),
        word("interval", language),
        "p",
        word("detectable", language),
        word("winner", language),
    )
    lines = [f"## {word('figures', language)}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    winners = better(judged)
    for name, c in judged.figures.items():
        lines.append(f"| {figure_word(name, language)} | {_row(c, judged, name, winners, language)} |")
    return [*lines, ""]


def _row(c: Comparison, judged: Judged, name: str, winners: dict[str, str], language: Language) -> str:
    interval = (
        f"{c.low:+.1%} … {c.high:+.1%}" if c.low is not None and c.high is not None else word("unknown", language)
    )
    p = f"{c.p:.3f}" if c.p is not None else word("unknown", language)
    least = f"{c.detectable:.1%}" if c.detectable is not None else word("unknown", language)
    tied = word(unclaimed(judged, name), language)
    who = inline(winners[name]) if name in winners else tied
    return " | ".join((measured(c.mean_a), measured(c.mean_b), f"{c.change:+.1%}", interval, p, least, who))


def _trend(loads: Sequence[Loaded], name: str, axis: str, language: Language, files: dict[str, str]) -> list[str]:
    sides: dict[str, list[tuple[float, float]]] = {}
    rows = []
    for loaded in loads:
        c = loaded.judged.figures.get(name)
        if c is None:
            continue
        sides.setdefault(loaded.judged.label_a, []).append((loaded.at(), c.mean_a))
        sides.setdefault(loaded.judged.label_b, []).append((loaded.at(), c.mean_b))
        rows.append(f"| {loaded.at():g} | {measured(c.mean_a)} | {measured(c.mean_b)} | {c.change:+.1%} |")
    if not rows:
        return []
    title = figure_word(name, language)
    file = f"trend-{name.replace('.', '-')}.svg"
    files[file] = line_chart(title, word(axis, language), sides)
    labels = [inline(label) for label in sides]
    head = f"| {word(axis, language)} | {labels[0]} | {labels[1]} | {word('change', language)} |"
    return [
        f"## {word('trend', language)}: {title}",
        "",
        head,
        "|---|---|---|---|",
        *rows,
        "",
        f"![{title}]({file})",
        "",
    ]


def _cell(value: object, language: Language, missing: str = "unknown") -> str:
    text = word(missing, language) if value is None else str(value)
    return inline(text if len(text) <= 48 else text[:45] + "…")


def _number(value: float | None, language: Language) -> str:
    return word("unknown", language) if value is None else measured(value)


def mean_of(runs: Sequence[BenchRun], name: str) -> float | None:
    """A side's mean of a figure, None unless every run has it."""
    values = [figure(r.metrics, name) for r in runs]
    known = [v for v in values if v is not None]
    return fmean(known) if known and len(known) == len(values) else None
