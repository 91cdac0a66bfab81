"""The verdicts of features, capacity and soak, from proofs, logs, trials and counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding
from seatrial.core.record import from_plain
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import error, note
from seatrial.evidence import StoredStep
from seatrial.gates.capacity import CapacityFacts
from seatrial.gates.soak import GROWTH, OWN_GATE, MemorySample, growth

CLOSE = 1e-6  # of a share that went through JSON


def features(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    facts = view.facts("features")
    rows, starts = facts.get("rows"), facts.get("starts")
    listed = [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
    begun = starts if isinstance(starts, dict) else {}
    base = begun.get("base")
    if not listed or not isinstance(base, dict):
        yield error("Y210", "features", "its rows or its base run are not in its facts")
        return
    for row in listed:
        yield from _row(view, row, begun)
    # Ready, it passes or lacks what was required of it; not ready, nothing passes.
    wanted = (Verdict.PASS, Verdict.FAIL) if base.get("ending") == "ready" else (Verdict.FAIL, Verdict.INCONCLUSIVE)
    if stored.outcome.verdict not in wanted:
        yield error(
            "Y210",
            "features",
            f"the verdict is {stored.outcome.verdict.value}, and the base run ended {base.get('ending')!r}",
        )


def _row(view: EvidenceView, row: dict[str, Any], starts: dict[str, Any]) -> Iterator[Finding]:
    """A supported feature has a start and proofs; those that are lines are in the log of that start."""
    place, status, start = f"features: {row.get('name')}", row.get("status"), row.get("start") or "base"
    kept = row.get("proofs")
    proofs = [p for p in kept if isinstance(p, dict)] if isinstance(kept, list) else []
    if status == "supported" and not proofs:
        yield error("Y210", place, "it is called supported without a proof")
    if status == "supported" and start not in starts:
        yield error("Y210", place, f"it is called supported, and no start {start!r} is in the facts")
    if status not in ("supported",) and not str(row.get("reason") or "").strip():
        yield error("Y210", place, f"it is {status} without a reason")
    for proof in proofs:
        where, says = str(proof.get("where") or ""), str(proof.get("says") or "")
        if not where or not says.strip():
            yield error("Y210", place, "one of its proofs says nothing")
            continue
        line = re.match(r"server\.log line (\d+)", where)
        if line is None:
            continue
        text = view.text("features", f"{start}-server.log")
        if not text:
            yield error("Y210", place, f"the log of its start ({start}) is not there")
        elif says[:160] not in text:
            yield error("Y210", place, "the log does not hold the line that is its proof")


def capacity(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    facts = from_plain(CapacityFacts, view.facts("capacity"), where="facts of capacity")
    many = facts.baseline_sequences
    baseline = next((t for t in facts.trials if (t.context, t.sequences) == (facts.baseline_context, many)), None)
    if baseline is None:
        yield error("Y211", "capacity", "no trial is of the baseline")
    elif baseline.served is not facts.baseline_served:
        yield error("Y211", "capacity", "the baseline's trial does not say what the summary says of it")
    served = [t for t in facts.trials if t.served]
    longest = max((t.context for t in served if t.sequences == many), default=None)
    most = max((t.sequences for t in served if t.context == longest), default=None)
    if facts.longest != longest:
        yield error("Y211", "capacity", f"the longest context is given as {facts.longest}, the trials say {longest}")
    if facts.most_sequences != most:
        yield error(
            "Y211", "capacity", f"the most sequences are given as {facts.most_sequences}, the trials say {most}"
        )
    for trial in served:
        for asked in (trial.whole_context, trial.together):
            if asked is None or not asked.sent or asked.answered != asked.sent:
                place = f"capacity: {trial.context} by {trial.sequences}"
                yield error("Y211", place, "it is called served, and not every request was answered")
    wanted = Verdict.PASS if facts.baseline_served else Verdict.FAIL
    if stored.outcome.verdict is not wanted:
        yield error(
            "Y211", "capacity", f"the verdict is {stored.outcome.verdict.value}, its baseline makes it {wanted.value}"
        )


def _samples(facts: dict[str, Any]) -> list[MemorySample]:
    """Raises FileFormatError for a look at the memory that is none."""
    looks = facts.get("memory") or []
    if not isinstance(looks, list):
        raise FileFormatError("soak: its looks at the memory are no list")
    return [from_plain(MemorySample, m, where="soak") for m in looks]


def _grown(facts: dict[str, Any], samples: list[MemorySample]) -> float | None:
    """The memory's growth, from its samples; None where they give none."""
    try:
        return growth(samples, facts.get("died_at"))
    except OverflowError as exc:
        raise FileFormatError("soak: no memory has as many bytes as its samples say") from exc


def _share(said: Any) -> float | None:
    """A share as a number; raises FileFormatError for what is none."""
    if said is None:
        return None
    try:
        if isinstance(said, (int, float)) and not isinstance(said, bool):
            return float(said)
    except OverflowError:
        pass  # a whole number beyond any float
    raise FileFormatError("soak: the growth of its memory is no number")


def soak(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    facts, said = view.facts("soak"), stored.outcome
    whole = facts.get("died_at") is None and facts.get("answered") == facts.get("asked_for") and facts.get("sent")
    asked = "asked_for" in facts  # else the server did not get as far
    grown, samples = _share(facts.get("growth")), _samples(facts)
    made = _grown(facts, samples)
    unread = sum(m.bytes is None for m in samples)
    if asked and made is not None and (grown is None or abs(grown - made) > CLOSE):
        yield error("Y214", "soak", f"the memory is said to have grown by {grown}, its samples make it {made:.4f}")
    if asked and made is None and grown is not None:
        yield error("Y214", "soak", f"the memory is said to have grown by {grown}, its samples do not say so")
    if asked and said.verdict is Verdict.PASS and made is None and unread:
        yield error("Y214", "soak", f"it passed, and the memory could not be read in {unread} of {len(samples)} looks")
    if said.verdict is Verdict.PASS and not whole:
        why = f"it passed with {facts.get('answered')} answers of {facts.get('asked_for')} requests"
        yield error("Y214", "soak", why if facts.get("died_at") is None else "it passed, and the server died")
    if said.verdict is Verdict.PASS and grown is not None and grown > GROWTH:
        yield error("Y214", "soak", f"it passed, and the memory grew by {grown:.1%}")
    if said.verdict is Verdict.INCONCLUSIVE and asked and not whole:
        yield error(
            "Y214", "soak", f"it is called inconclusive with {facts.get('answered')} of {facts.get('asked_for')}"
        )
    if said.verdict is Verdict.FAIL and whole:
        # The gate around the requests is not in the facts; a failure for anything else would be in the counts.
        if said.reason.startswith(OWN_GATE):
            yield note("soak", "the gate that failed around the requests is only hash-checked")
        else:
            yield error("Y214", "soak", "it failed, and every request was answered")
