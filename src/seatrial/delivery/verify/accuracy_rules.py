"""A rung of the accuracy ladder: its figures counted again from the kept answers, its verdict from its figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding
from seatrial.core.record import from_json
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.scores import read_scores
from seatrial.delivery.sources import SCORE, attached
from seatrial.delivery.verify.common import error, note
from seatrial.evidence import StoredStep
from seatrial.measure.accuracy.records import Score
from seatrial.measure.accuracy.run import FILES


def accuracy(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """Every score document of the step, with what was attached beside it."""
    step = stored.step
    sources = [s for s in attached(view) if f" of step {step} of " in s.where]
    if not sources:
        yield error("Y217", step, "no score is kept")
        return
    for source in sources:
        if lost := [name for name in FILES if name not in source.files]:
            yield error("Y217", step, f"{', '.join(lost)} is not kept beside the score: nothing can be counted again")
            continue
        try:
            read = read_scores((source,))
            score = from_json(Score, Path(source.files[SCORE]).read_bytes(), where=source.where)
        except FileFormatError as exc:
            yield error("Y217", step, exc.message)
            continue
        for line in read.left:
            yield note(step, line)
        wanted = _verdict(score)
        if stored.outcome.verdict is not wanted:
            yield error("Y217", step, f"the verdict is {stored.outcome.verdict.value}, the score says {wanted.value}")
        if not step.endswith(f"-{score.level}"):
            yield error("Y217", step, f"the score is of level {score.level}")


def _verdict(score: Score) -> Verdict:
    """As `accuracy run` judges: L0 to L2 fail on any wrong row, above a complete run passes.

    Where no prompt was answered nothing is known of the model (but of L0, that its server was not reached).
    """
    unanswered = score.level != "L0" and score.num_no_answer == score.num_total > 0
    if score.status == "partial" or (score.status == "smoke" and unanswered):
        return Verdict.INCONCLUSIVE
    if score.status == "smoke" and score.num_correct != score.num_total:
        return Verdict.FAIL
    return Verdict.PASS
