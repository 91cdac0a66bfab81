"""Steps that found something out (parity, locate, a matrix of settings, a profile): verdict and sums from their facts.

Out: findings Y223. The engine's and the reference's raw numbers are not in the run (logits, slices, traces are too
large): each rule says in a note (Y290) what it could only check by its hash.
"""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.core.record import from_plain, to_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import differing, error, loaded, note
from seatrial.delivery.verify.ledger_rules import beside
from seatrial.evidence import StoredStep
from seatrial.measure.accuracy import ab, bisect, locate
from seatrial.measure.accuracy import parity as parity_of
from seatrial.measure.accuracy.distance import band

TRIALS = "trials.jsonl"


def parity(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The bands and the agreement from the positions; verdict and findings from those."""
    step = stored.step
    facts = from_plain(parity_of.ParityFacts, view.facts(step), where=f"facts of {step}")
    for said in facts.bands:
        # Which prompts had a picture is not in the facts.
        mine = [p for p in facts.positions if p.part == said.part]
        if said.part != "picture":
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
    yield note(step, "the distances of single positions are only hash-checked: their logits are not kept")


def located(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The first module outside the noise from the rows; verdict and findings from that."""
    step = stored.step
    facts = from_plain(locate.LocateFacts, view.facts(step), where=f"facts of {step}")
    first = next((r for r in facts.rows if r.out and not r.excused), None)
    if first != facts.first:
        told = first.key if first is not None else "none"
        yield error("Y223", step, f"the first module is given as another than its rows say ({told})")
    yield from _same(stored, locate.conclude(facts))
    yield note(step, "the errors of single modules are only hash-checked: the outputs they were made of are not kept")


def matrix(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """Each cell's state from its comparison; verdict and findings from the cells."""
    step = stored.step
    facts = from_plain(ab.MatrixFacts, view.facts(step), where=f"facts of {step}")
    logs = {ref.name for ref in stored.artifacts}
    raw = view.facts(step).get("cells")
    for cell, plain in zip(facts.cells, raw if isinstance(raw, list) else (), strict=True):
        place, agreement = f"{step}: {cell.variant.name}", cell.agreement
        ran = cell.state != "not-run"
        if ran and (agreement is None or agreement.troubles):
            yield error("Y223", place, f"it is called {cell.state}, and no comparison of it is whole")
        elif ran and agreement is not None and "step" not in (plain.get("agreement") or {}):
            yield note(place, "what is rounding was judged by an earlier rule, so its state was not derived again")
        elif ran and agreement is not None:
            again = ab.cell_of(cell.variant, agreement)
            if (again.state, again.reason) != (cell.state, cell.reason):
                yield error("Y223", place, f"it is called {cell.state}, its comparison makes it {again.state}")
        if ran and f"server-{cell.variant.name}.log" not in logs:
            yield error("Y223", place, "the log of its server is not kept")
    if not facts.cells and stored.outcome.verdict is not Verdict.INCONCLUSIVE:
        yield error("Y223", step, f"the verdict is {stored.outcome.verdict.value}, and no cell is there")
    elif facts.cells:
        yield from _same(stored, ab.conclude(facts))
    yield note(step, "the divergences of single prompts are only hash-checked: their answers are not kept")


def _same(stored: StoredStep, again: StepResult) -> Iterator[Finding]:
    if stored.outcome != again.outcome:
        said, told = stored.outcome.verdict.value, again.outcome.verdict.value
        yield error("Y223", stored.step, f"the verdict is {said} {stored.outcome.reason!r}, its facts make it {told}")
    if [f.code for f in stored.findings] != [f.code for f in again.findings]:
        codes = ", ".join(f.code for f in again.findings) or "none"
        yield error("Y223", stored.step, f"its findings are not those of its facts ({codes})")


def bisected(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """Each trial from its exit codes; the first bad one and the last good one from the trials."""
    step = stored.step
    facts = from_plain(bisect.BisectFacts, view.facts(step), where=f"facts of {step}")
    kept = [loaded(line) for line in view.text(step, TRIALS).splitlines()]
    for trial in facts.trials:
        place = f"{step}: {trial.candidate}"
        again = bisect.judge(trial.candidate, trial.codes)
        # Without any code the environment failed, and the reason is its own.
        if again.judgement != trial.judgement or (trial.codes and again.reason != trial.reason):
            yield error("Y223", place, f"it is called {trial.judgement}, its exit codes make it {again.judgement}")
        if not any(isinstance(k, dict) and k.get("codes") == list(trial.codes) for k in kept):
            yield error("Y223", place, f"{TRIALS} does not hold these exit codes")
    tried = {t.candidate: t.judgement for t in facts.trials}
    for name, wanted in ((facts.first_bad, "bad"), (facts.last_good, "good")):
        if name and tried.get(name) != wanted:
            yield error("Y223", step, f"{name} is called {wanted}, its trial says {tried.get(name)}")
    wanted_verdict = Verdict.FAIL if facts.first_bad and not facts.suspects else Verdict.INCONCLUSIVE
    if stored.outcome.verdict is not wanted_verdict:
        said = stored.outcome.verdict.value
        yield error("Y223", step, f"the verdict is {said}, its trials make it {wanted_verdict.value}")
    yield note(step, "what the command did in a trial is only hash-checked: its exit codes are taken as recorded")


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
