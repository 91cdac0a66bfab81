"""Steps that found something out (parity, locate, a matrix of settings, a profile): verdict and sums from their facts.

Out: findings Y223. The engine's and the reference's raw numbers are not in the run (logits, slices, traces are too
large): each rule says in a note (Y290) what it could only check by its hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding
from seatrial.core.record import from_plain, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import differing, error, note
from seatrial.delivery.verify.ledger_rules import beside
from seatrial.evidence import StoredStep
from seatrial.measure.accuracy import ab, locate
from seatrial.measure.accuracy import parity as parity_of
from seatrial.measure.accuracy.ab_variants import chosen_variants
from seatrial.measure.accuracy.distance import band

LONGEST_NAME = 1000  # of a module
UNASKED = "; whether in float32 too could not be asked: "


def parity(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The bands and the agreement from the positions; verdict and findings from those."""
    step = stored.step
    facts = from_plain(parity_of.ParityFacts, view.facts(step), where=f"facts of {step}")
    parts = [b.part for b in facts.bands]
    if parts not in (["prefill", "decode"], ["prefill", "decode", "picture"]):
        yield error("Y223", step, f"its bands are {', '.join(parts) or 'none'}, and every part has one")
    if strange := {p.part for p in facts.positions} - set(parts):
        yield error("Y223", step, f"positions of the part {sorted(strange)[0]!r} are in no band")
    for said in facts.bands:
        mine = [p for p in facts.positions if p.part == said.part]
        if said.part == "picture":
            yield note(
                step, "which prompts had a picture is not kept: the distances of their band are only hash-checked"
            )
        else:
            again = band(said.part, [p.engine for p in mine], [p.noise for p in mine])
            for place, one, two in differing(to_plain(said), to_plain(again)):
                yield error("Y223", f"{step}: {said.part}", f"{place} is {one}, the positions come to {two}")
    agreed = sum(p.best_agrees for p in facts.positions) / len(facts.positions) if facts.positions else 0.0
    if abs(agreed - facts.agreement) > 1e-9:
        yield error("Y223", step, f"the agreement is {facts.agreement}, the positions come to {agreed}")
    for d in facts.divergences:
        if d.near_tie != (d.margin <= parity_of.TIE_SIGMAS * facts.sigma):
            yield error("Y223", f"{step}: prompt {d.prompt}", "a divergence is called a near-tie against its margin")
    yield from _same(stored, parity_of.conclude(facts))
    yield note(
        step, "the distances of single positions and the noise's sigma are only hash-checked: their logits are not kept"
    )


def located(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The first module outside the noise from the rows; verdict and findings from that."""
    step = stored.step
    facts = from_plain(locate.LocateFacts, view.facts(step), where=f"facts of {step}")
    for row in facts.rows:
        if row.out is not (not row.relative <= row.limit or row.bad > 0):
            yield error("Y223", f"{step}: {row.key}", f"out={row.out} is not what its error and its limit come to")
        if row.excused and not (row.out and _enclosed(row, facts.rows)):
            yield error("Y223", f"{step}: {row.key}", "it is excused, and nothing that encloses it is inside the noise")
    first = next((r for r in facts.rows if r.out and not r.excused), None)
    if first != facts.first:
        told = first.key if first is not None else "none"
        yield error("Y223", step, f"the first module is given as another than its rows say ({told})")
    yield from _same(stored, locate.conclude(facts))
    yield note(step, "the errors of single modules are only hash-checked: the outputs they were made of are not kept")


def _enclosed(row: locate.ModuleRow, rows: tuple[locate.ModuleRow, ...]) -> bool:
    """Whether the nearest judged module around it (for an input the module itself) is inside the noise."""
    name, of_input, _ = row.key.partition("@")
    mine = [r for r in rows if r.step == row.step]
    judged, outside = {r.key for r in mine}, {r.key for r in mine if r.out}
    if "#" in row.key or len(name) > LONGEST_NAME:
        return False
    while not of_input and "." in name:
        name = name.rpartition(".")[0]
        if name in judged:
            break
    return name != row.key and name in judged and name not in outside


def matrix(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """Each cell's state from its comparison; verdict and findings from the cells."""
    step = stored.step
    facts = from_plain(ab.MatrixFacts, view.facts(step), where=f"facts of {step}")
    logs = {ref.name for ref in stored.artifacts}
    raw = view.facts(step).get("cells")
    for cell, plain in zip(facts.cells, raw if isinstance(raw, list) else (), strict=True):
        yield from _cell(step, cell, plain, logs)
        milder = plain.get("milder") if isinstance(plain, dict) else None
        for one, part in zip(cell.milder, milder if isinstance(milder, list) else (), strict=True):
            yield from _cell(step, one, part, logs)
    started = {f"server-{c.variant.name}" for cell in facts.cells for c in (cell, *cell.milder)} | {"server-base"}
    begun = {n: n.removesuffix(".log").removesuffix("-float32") for n in logs if n.startswith("server-")}
    if facts.cells and (lost := sorted(n for n, start in begun.items() if start not in started)):
        yield error("Y223", step, f"{lost[0]} is the log of a setting that has no cell")
    yield from _all_asked(view, step, [c.variant.name for c in facts.cells])
    if not facts.cells and stored.outcome.verdict is not Verdict.INCONCLUSIVE:
        yield error("Y223", step, f"the verdict is {stored.outcome.verdict.value}, and no cell is there")
    elif facts.cells:
        yield from _same(stored, ab.conclude(facts))
    yield note(step, "the divergences of single prompts are only hash-checked: their answers are not kept")


def _all_asked(view: EvidenceView, step: str, have: list[str]) -> Iterator[Finding]:
    """Every setting that the manifest asks for has its cell."""
    options = view.manifest.arguments.get("options")
    only = options.get("only") if isinstance(options, dict) else None
    if not have or not isinstance(only, list):
        return
    try:
        due = [v.name for v in chosen_variants([str(n) for n in only])]
    except UsageError as exc:
        yield error("Y223", step, exc.message)
        return
    if lost := [n for n in due if n not in have]:
        yield error("Y223", step, f"the setting {lost[0]} was asked for and has no cell")


def _cell(step: str, cell: ab.Cell, plain: dict[str, Any], logs: set[str]) -> Iterator[Finding]:
    """One setting: its state from its comparison, and from the one in float32 where that decided."""
    place, agreement, name = f"{step}: {cell.variant.name}", cell.agreement, cell.variant.name
    whole = agreement is not None and not agreement.troubles
    if (cell.state != "not-run") is not whole:
        why = "and a comparison of it is whole" if whole else "and no comparison of it is whole"
        yield error("Y223", place, f"it is called {cell.state}, {why}")
    if cell.state == "not-run" or agreement is None:
        return
    if lost := {f"server-{name}.log", *([f"server-{name}-float32.log"] if cell.exact is not None else [])} - logs:
        yield error("Y223", place, f"the log of its server is not kept: {min(lost)}")
    if "step" not in (plain.get("agreement") or {}):
        yield note(place, "what is rounding was judged by an earlier rule, so its state was not derived again")
        return
    again = ab.cell_of(cell.variant, agreement)
    if cell.exact is not None:
        if not ab.doubtful(again):
            yield error("Y223", place, "it was asked again in float32, and its comparison leaves no doubt")
        again = ab.settled(again, ab.cell_of(cell.variant, cell.exact))
    reason = cell.reason.partition(UNASKED)[0] if ab.doubtful(again) else cell.reason
    if (again.state, again.reason) != (cell.state, reason):
        yield error("Y223", place, f"it is called {cell.state}, its comparison makes it {again.state}")


def _same(stored: StoredStep, again: StepResult) -> Iterator[Finding]:
    if stored.outcome != again.outcome:
        said, told = stored.outcome.verdict.value, again.outcome.verdict.value
        yield error("Y223", stored.step, f"the verdict is {said} {stored.outcome.reason!r}, its facts make it {told}")
    if [f.code for f in stored.findings] != [f.code for f in again.findings]:
        codes = ", ".join(f.code for f in again.findings) or "none"
        yield error("Y223", stored.step, f"its findings are not those of its facts ({codes})")
    if stored.summary != again.summary:
        yield error("Y223", stored.step, f"the summary {stored.summary!r} is not that of its facts")


def profile(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """What the report comes to, and which bench it explains."""
    from seatrial.measure.profile.records import ProfileReport

    step, facts = stored.step, view.facts(stored.step)
    report = from_plain(ProfileReport, facts.get("report"), where=f"facts of {step}")
    seen = any(rank.devices or rank.vendor for rank in report.ranks)
    wanted = Verdict.PASS if seen else Verdict.INCONCLUSIVE
    if stored.outcome.verdict is not wanted:
        yield error("Y223", step, f"the verdict is {stored.outcome.verdict.value}, the report makes it {wanted.value}")
    if tuple(stored.findings) != tuple(report.findings):
        yield error("Y223", step, "its findings are not those of the report")
    explains = str(facts.get("explains"))
    if explains != view.manifest.arguments.get("explains"):
        yield error("Y223", step, f"it explains {explains!r}, the manifest names another run")
    bench = beside(view, explains)
    if bench is None:
        yield note(step, f"the bench {explains} that it explains is not beside it")
    elif bench.manifest.arguments.get("kind") != "bench":
        yield error("Y223", step, f"{explains} is no bench")
    files = facts.get("files")
    listed = [f for f in files if isinstance(f, dict)] if isinstance(files, list) else []
    if {f.get("path"): f.get("sha256") for f in listed} != view.manifest.inputs:
        yield error("Y223", step, "the files of the report are not those of the manifest")
    # They are not looked for: where evidence says that a file lies is no reason to open it.
    told = f"the report is only hash-checked: the {len(listed)} trace file(s) it was made of lie outside of the run"
    yield note(step, told)
