"""Every kind of run with its rules: which steps are derived again, from what, and what the run as a whole must hold.

In: a run's evidence. Out: its `KindRules`; None for a kind that nothing here knows, which is then named and not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from seatrial.core.finding import Finding
from seatrial.delivery.evidence_view import GATES, EvidenceView
from seatrial.delivery.verify.accuracy_rules import accuracy
from seatrial.delivery.verify.bench_rules import MEASURED, measured
from seatrial.delivery.verify.bench_run_rules import SMOKE, VERDICT, comparison, smoke, whole
from seatrial.delivery.verify.bisect_rules import bisected
from seatrial.delivery.verify.compared_rules import agreement, ladder
from seatrial.delivery.verify.found_rules import located, matrix, parity, profile
from seatrial.delivery.verify.gate_rules import gate_rule
from seatrial.delivery.verify.ledger_rules import highest_load, loop, search
from seatrial.delivery.verify.plan_rules import check as plan_check
from seatrial.delivery.verify.plan_rules import plan
from seatrial.delivery.verify.served_rules import capacity, features, soak
from seatrial.delivery.verify.step_rules import dry, engine, finished, inspect, support
from seatrial.evidence import StoredStep
from seatrial.measure.accuracy.records import LEVELS

StepRule: TypeAlias = Callable[[EvidenceView, StoredStep], Iterator[Finding]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`what` says what is derived again, and from which evidence."""

    check: StepRule
    what: str


@dataclass(frozen=True, kw_only=True)
class KindRules:
    """`steps` by name; `prefixes` for steps whose name goes on (`bench-SIDE-1`). `whole` is of the run."""

    steps: Mapping[str, Rule]
    whole: Callable[[EvidenceView], Iterator[Finding]]
    whole_what: str
    prefixes: Mapping[str, Rule] = field(default_factory=dict)

    def rule(self, step: str) -> Rule | None:
        return self.steps.get(step) or next((r for p, r in self.prefixes.items() if step.startswith(p)), None)


GATE = Rule(check=gate_rule, what="verdict from command, requests, answers, model list and log")
LADDER = Rule(check=ladder, what="conclusion from the rungs, their commands and answers")
SUMS = Rule(check=accuracy, what="figures and verdict from the kept answers")
END = "the run's verdict from its steps"
MAIN = {
    "inspect": Rule(check=inspect, what="verdict from the checkpoint's card"),
    "plan": Rule(check=plan, what="verdict from the plan's own figures"),
    "plan-check": Rule(check=plan_check, what="verdict from plan and gate"),
    "engine": Rule(check=engine, what="verdict from what the engine said of itself, and the manifest's versions"),
    "support": Rule(check=support, what="verdict from what the registry said"),
    "dry": Rule(check=dry, what="verdict and sums from the account of every tensor"),
    **dict.fromkeys(GATES, GATE),
    **{f"{stage}-ladder": LADDER for stage in GATES},
    "features": Rule(check=features, what="each proof that is a line from the logs, the verdict from the base run"),
    "agreement": Rule(check=agreement, what="comparisons and verdict from the kept answers"),
    "capacity": Rule(check=capacity, what="baseline, longest context and most sequences from the trials"),
    "soak": Rule(check=soak, what="verdict from the counts of its requests"),
    **{f"accuracy-{level}": SUMS for level in LEVELS},
}
BENCH = {
    MEASURED: Rule(check=measured, what="figures from every request, doubts from the gate, setup from the command"),
    SMOKE: Rule(check=smoke, what="verdict from the kept texts"),
}
FOUND = {
    "parity": Rule(check=parity, what="bands and verdict from the distances of the positions"),
    "locate": Rule(check=located, what="first module and verdict from the modules' errors"),
    "bisect": Rule(check=bisected, what="each trial from its exit codes, the verdict from the trials"),
    "ab": Rule(check=matrix, what="each cell's state and the verdict from the cells' divergences"),
}
KINDS: dict[str, KindRules] = {
    "run": KindRules(steps=MAIN, whole=finished, whole_what=END),
    "accuracy": KindRules(steps={**MAIN, **FOUND}, whole=finished, whole_what=END),
    "profile": KindRules(
        steps={"profile": Rule(check=profile, what="verdict and findings from the report")},
        whole=finished,
        whole_what=END,
    ),
    "bench": KindRules(
        steps={VERDICT: Rule(check=comparison, what="fairness, figures and answer from every run of both sides")},
        prefixes=BENCH,
        whole=whole,
        whole_what="the steps from the job, the run's verdict from its steps",
    ),
    "highest": KindRules(
        steps={"highest": Rule(check=highest_load, what="each trial from its bench, the answer by the same bisection")},
        whole=finished,
        whole_what=END,
    ),
    "search": KindRules(steps={}, whole=search, whole_what="the best candidate from the candidates' benches"),
    "loop": KindRules(steps={}, whole=loop, whole_what="the state from the events, their figures from their runs"),
}
# What their last record alone tells.
LEDGERS = ("search", "loop")


def kind_of(view: EvidenceView) -> str:
    """The kind of run, as its manifest says; the main job says none."""
    return str(view.manifest.arguments.get("kind") or "run")
