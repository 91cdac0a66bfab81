"""The inspect step of the main job: the card, and what follows from it."""

from __future__ import annotations

from pathlib import Path

from seatrial.checkpoint.card import Card
from seatrial.checkpoint.read import read_card
from seatrial.core.clock import Stopwatch
from seatrial.core.command import Command
from seatrial.core.finding import errors
from seatrial.core.step import StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive, passed


def inspect(folder: Path) -> StepResult:
    """Step "inspect". Facts: the `Card`. Raises UsageError for a path that is no readable folder."""
    watch = Stopwatch()
    with watch.span("read headers", "seatrial"):
        card = read_card(folder)
    return StepResult(
        step="inspect",
        outcome=judge(card),
        summary=card.line(),
        facts=card,
        findings=card.findings,
        commands=(Command(purpose="inspect the checkpoint", argv=("seatrial", "inspect", str(folder))),),
        timeline=watch.spans(),
    )


def judge(card: Card) -> Outcome:
    """Fail on any error; inconclusive where what matters cannot be known; else pass."""
    wrong = errors(card.findings)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        mend = f". {wrong[0].next_step}" if wrong[0].next_step else ""
        return failed(f"{wrong[0].place}: {wrong[0].message}{more}{mend}")
    if card.weights.known != "headers":
        return inconclusive(card.weights.note)
    if not card.weights.tensors:
        return inconclusive("the shards hold no tensor")
    frame = card.architecture
    if not frame.architectures or not frame.layers or not frame.hidden_size:
        return inconclusive("config.json does not name the architecture, its layers and its hidden size")
    return passed()
