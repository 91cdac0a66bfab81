"""The verdicts of features, capacity and soak, from proofs, logs, trials and counts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from seatrial.core.finding import Finding
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import error
from seatrial.evidence import StoredStep


def features(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    rows = view.facts("features").get("rows")
    for row in [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []:
        name, status = str(row.get("name")), row.get("status")
        listed = row.get("proofs")
        proofs = [p for p in listed if isinstance(p, dict)] if isinstance(listed, list) else []
        if status == "supported" and not proofs:
            yield error("Y210", f"features: {name}", "it is called supported without a proof")
        if status not in ("supported",) and not str(row.get("reason") or "").strip():
            yield error("Y210", f"features: {name}", f"it is {status} without a reason")
        start = row.get("start") or "base"
        for proof in proofs:
            where, says = str(proof.get("where")), str(proof.get("says"))
            line = re.match(r"server\.log line (\d+)", where)
            if line is None:
                continue
            text = view.text("features", f"{start}-server.log")
            if not text:
                yield error("Y210", f"features: {name}", f"the log of its start ({start}) is not there")
            elif says[:160] not in text:
                yield error("Y210", f"features: {name}", "the log does not hold the line that is its proof")
    starts = view.facts("features").get("starts")
    base = starts.get("base") if isinstance(starts, dict) else None
    ending = base.get("ending") if isinstance(base, dict) else None
    if stored.outcome.verdict is Verdict.PASS and ending not in (None, "ready"):
        yield error("Y210", "features", f"it passed, and the base run ended {ending!r}")


def capacity(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    facts = view.facts("capacity")
    listed = facts.get("trials")
    trials = [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []
    want = (facts.get("baseline_context"), facts.get("baseline_sequences"))
    baseline = next((t for t in trials if (t.get("context"), t.get("sequences")) == want), None)
    if baseline is not None and bool(baseline.get("served")) != bool(facts.get("baseline_served")):
        yield error("Y211", "capacity", "the baseline's trial does not say what the summary says of it")
    if baseline is None and facts.get("baseline_served"):
        yield error("Y211", "capacity", "the baseline is called served, and no trial is of it")
    served = [t for t in trials if t.get("served")]
    reached = [t.get("context") for t in served if t.get("sequences") == want[1]]
    longest = max((n for n in reached if isinstance(n, int)), default=None)
    if facts.get("longest") != longest:
        yield error(
            "Y211", "capacity", f"the longest context is given as {facts.get('longest')}, the trials say {longest}"
        )
    for trial in served:
        asked = trial.get("whole_context")
        whole = asked if isinstance(asked, dict) else {}
        if whole.get("answered") != whole.get("sent") or not whole.get("answered"):
            place = f"capacity: {trial.get('context')} by {trial.get('sequences')}"
            yield error("Y211", place, "it is called served, and not every request was answered")


def soak(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    facts = view.facts("soak")
    whole = facts.get("died_at") is None and facts.get("answered") == facts.get("asked_for") and facts.get("sent")
    if stored.outcome.verdict is Verdict.PASS and not whole:
        why = f"it passed with {facts.get('answered')} answers of {facts.get('asked_for')} requests"
        yield error("Y214", "soak", why if facts.get("died_at") is None else "it passed, and the server died")
    if stored.outcome.verdict is Verdict.FAIL and whole:
        yield error("Y214", "soak", "it failed, and every request was answered")
