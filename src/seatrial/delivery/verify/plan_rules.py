"""The plan and its check: advice, but what the records say of it must follow from them and from the kept log."""

from __future__ import annotations

from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.core.record import from_json, to_json
from seatrial.delivery.evidence_view import GATES, EvidenceView
from seatrial.delivery.verify.common import error
from seatrial.estimate.check import DrySeen, PlanCheck, check_plan, dry_seen
from seatrial.estimate.facts import PlanFacts
from seatrial.estimate.from_log import Readings, read_log
from seatrial.evidence import StoredStep

LOG = "server.log"


def plan(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The step's verdict is that of the plan in its facts."""
    facts = _planned(view)
    wanted = facts.plan.outcome.verdict.value if facts is not None else "inconclusive"
    if stored.outcome.verdict.value != wanted:
        yield error("Y224", stored.step, f"the verdict is {stored.outcome.verdict.value}, the plan's is {wanted}")


def check(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """The comparison made again, from the plan, the dry run's facts and the gate's log."""
    facts = _planned(view)
    if facts is None:
        if stored.outcome.verdict.value != "inconclusive":
            yield error("Y224", stored.step, "there is no plan that could have been checked")
        return
    kept = from_json(PlanCheck, to_json(view.facts(stored.step)), where=f"facts of {stored.step}")
    readings = read_log(view.text(kept.gate, LOG)) if kept.gate in GATES else Readings()
    dry = dry_seen(view.facts("dry"), facts) if view.stored("dry") is not None else DrySeen()
    again = check_plan(facts.plan, readings, dry, kept.gate)
    if again != kept:
        yield error("Y224", stored.step, "its figures are not those of the plan, the dry run and the log")
    if stored.outcome != again.outcome():
        yield error("Y224", stored.step, f"the verdict is {stored.outcome.verdict.value}, the figures say otherwise")


def _planned(view: EvidenceView) -> PlanFacts | None:
    """None for a plan that could not be made; raises FileFormatError for facts that are none."""
    data = view.facts("plan")
    if not data:
        return None
    return from_json(PlanFacts, to_json(data), where="facts of plan")
