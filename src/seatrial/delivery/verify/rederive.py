"""Each step's verdict, derived again from what lies beside it: answers, logs, tensor accounts, trials, requests.

In: a run's evidence. Out: findings, and for each step what was derived again; empty findings where the records say what
the raw evidence says. A rule needs nothing but the files, so that it holds on a machine without an engine. What cannot
be derived again is said (`Y290`), and a kind of run or a step without a rule is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding
from seatrial.core.record import Record
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import error, note
from seatrial.delivery.verify.kinds import KINDS, LEDGERS, kind_of

WHOLE = "(the run)"


class Checked(Record):
    """A step, or the run as a whole. `derived`: what was derived again; empty where only hashes were checked."""

    step: str
    derived: str


class Rederived(Record):
    """`count` of verdicts that were derived again."""

    kind: str
    findings: tuple[Finding, ...]
    checked: tuple[Checked, ...]
    count: int


def rederive(view: EvidenceView) -> Rederived:
    """All rules of the run's kind."""
    kind = kind_of(view)
    rules = KINDS.get(kind)
    found: list[Finding] = []
    checked: list[Checked] = []
    if rules is None:
        found.append(note(view.run_id, f"no rule knows runs of the kind {kind!r}: only hashes were checked"))
    for step, known in view.gathered.steps.items():
        if not known.stored.inputs:
            found += _not_run(step, known.stored.outcome.verdict)
            continue
        if known.problem:
            found.append(error("Y201", step, f"the facts cannot be read: {known.problem}"))
            continue
        rule = rules.rule(step) if rules is not None else None
        if rule is None:
            checked.append(Checked(step=step, derived=""))
            found.append(note(step, f"no rule derives the step {step!r} of a {kind} again: only its hash was checked"))
            continue
        told = _told(step, rule.check(view, known.stored))
        found += told
        checked.append(Checked(step=step, derived="" if _rests_elsewhere(told) else rule.what))
    count = sum(bool(c.derived) for c in checked)
    if rules is not None:
        told = _told(view.run_id, rules.whole(view))
        found += told
        if view.gathered.finished or kind in LEDGERS:
            checked.append(Checked(step=WHOLE, derived="" if _rests_elsewhere(told) else rules.whole_what))
            count += kind in LEDGERS and bool(checked[-1].derived)
    found += _order(view)
    return Rederived(kind=kind, findings=tuple(found), checked=tuple(checked), count=count)


def _not_run(step: str, verdict: Verdict) -> Iterator[Finding]:
    """A step that was blocked has no inputs, and proves nothing: no rule looks at it, so it must say so itself."""
    if verdict is not Verdict.INCONCLUSIVE:
        yield error("Y201", step, f"it has no inputs, so it was not run, and its verdict is {verdict.value}")


def _told(place: str, rule: Iterator[Finding]) -> list[Finding]:
    """What a rule finds; evidence that it cannot read is a finding."""
    found = []
    try:
        for finding in rule:
            found.append(finding)
    except FileFormatError as exc:
        found.append(error("Y201", place, exc.message))
    return found


def _rests_elsewhere(found: list[Finding]) -> bool:
    """Whether it rests on a run that is not here, so that it was not derived."""
    return any(f.code == "Y291" for f in found)


def _order(view: EvidenceView) -> Iterator[Finding]:
    """Records are in the order of time, and none is older than the manifest."""
    last = view.manifest.created_at
    for entry in view.run.log.entries:
        if entry.at < last:
            yield error("Y213", f"record {entry.seq}", f"it is of {entry.at}, before {last}")
        last = max(last, entry.at)


def run_folders(place: Path) -> list[Path]:
    """The runs in a folder: itself, those of a workspace, or those of a bundle that holds one."""
    if (place / "manifest.json").is_file():
        return [place]
    for base in (place / "runs", place / ".seatrial" / "runs", place):
        if base.is_dir():
            found = sorted(f for f in base.iterdir() if (f / "manifest.json").is_file())
            if found:
                return found
    return []
