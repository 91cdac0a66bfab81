"""The agreement step: one prompt at a time against all at once, and one device against several, on real starts.

In: a checkpoint and a target. Out: a `StepResult` with `AgreementFacts`. Real weights say most; dummy weights are the
same in every start of one engine version only if its initialiser is seeded, so TP is compared with real weights only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from seatrial.core.record import Record
from seatrial.core.step import StepResult
from seatrial.core.verdict import failed, inconclusive, passed
from seatrial.gates.agree import PROMPTS, Agreement, Greedy, compare, greedy
from seatrial.gates.client import Client
from seatrial.gates.runner import gate
from seatrial.targets import Target


class AgreementFacts(Record):
    stage: Literal["dummy", "real"]
    comparisons: tuple[Agreement, ...]
    not_compared: tuple[str, ...]


def agreement(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    tp: int | None = None,
    max_model_len: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """Batch 1 against batch n in one start; TP 1 against TP `tp` in another if `tp` is above 1."""
    left_out: list[str] = []
    results: list[StepResult] = []

    def answers(name: str, size: int | None, *at_once: int) -> list[list[Greedy]]:
        seen: list[list[Greedy]] = []

        def visit(client: Client) -> None:
            for width in at_once:
                seen.append(greedy(client, at_once=width))

        result = gate(
            checkpoint,
            target,
            python=python,
            stage=stage,
            scratch=scratch / name,
            tp=size,
            max_model_len=max_model_len,
            visit=visit,
            say=say,
        )
        results.append(result)
        if len(seen) < len(at_once):
            left_out.append(f"{name}: {result.outcome.reason or 'not asked'}")
        return seen

    found: list[Agreement] = []
    base = answers("base", tp, 1, PROMPTS)
    if len(base) == 2:
        found.append(compare("batch 1", f"batch {PROMPTS}", base[0], base[1]))
    if base and tp is not None and tp > 1 and stage == "real":
        alone = answers("one-device", 1, 1)
        if alone:
            found.append(compare("TP 1", f"TP {tp}", alone[0], base[0]))
    facts = AgreementFacts(stage=stage, comparisons=tuple(found), not_compared=tuple(left_out))
    told = [f"{a.first} and {a.second} agree on {a.equal} of {a.prompts} prompts" for a in found]
    wide = [(a, d) for a in found for d in a.beyond_rounding()]
    troubles = [t for a in found for t in a.troubles]
    if not found or left_out or troubles:
        outcome = inconclusive("; ".join([*left_out, *troubles]) or "nothing was compared")
    elif wide:
        a, d = wide[0]
        apart = f"{d.margin:.3f} apart" if d.margin is not None else "not even among the best"
        outcome = failed(f"{a.first} and {a.second} part at token {d.place} of prompt {d.prompt}: the two were {apart}")
    else:
        outcome = passed()
    return StepResult(
        step="agreement",
        outcome=outcome,
        summary="; ".join(told) or outcome.reason,
        facts=facts,
        commands=tuple(r.commands[0] for r in results),
        attachments=tuple(a for r in results for a in r.attachments if a.name == "server.log"),
    )
