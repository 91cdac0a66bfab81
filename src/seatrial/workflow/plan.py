"""The plan as a step of the main job, and its check against what the engine of the same run said.

Both are advice: they never stop a run and decide nothing of its verdict (`evidence.ADVICE`). A plan that cannot be made
is recorded as inconclusive with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from seatrial.core.command import Command
from seatrial.core.errors import SeatrialError
from seatrial.core.record import from_json
from seatrial.core.step import StepResult
from seatrial.core.verdict import inconclusive
from seatrial.estimate import Plan, read_model
from seatrial.estimate.check import DrySeen, check_plan, dry_seen
from seatrial.estimate.device import device_for
from seatrial.estimate.facts import PlanFacts, plan_facts
from seatrial.estimate.from_log import Readings, read_log
from seatrial.estimate.launch import read_launch
from seatrial.evidence import Run, StoredStep
from seatrial.gates.plan import gate_plan
from seatrial.targets import Target
from seatrial.workflow.job import GATES, Job

PLAN, CHECK = "plan", "plan-check"
LOG = "server.log"
# Start-up figures stand at a log's beginning; `seatrial verify` reads as much of it.
LOG_BYTES = 4 << 20


def plan_step(folder: Path, target: Target, job: Job, python: Path) -> StepResult:
    """Step "plan": the launch that the gates will use, on the device that the target names. Facts: `PlanFacts`."""
    try:
        launch = gate_plan(
            folder, target, python=python, stage=job.weights(), tp=job.tp, max_model_len=job.max_model_len, check=False
        ).command
        read = read_launch(launch.argv, launch.env, target.platform)
        # A draft by its hub's name is no folder here: the plan then says that it is not counted.
        draft = read_model(Path(read.draft)) if read.draft and Path(read.draft).is_dir() else None
        facts = plan_facts(read_model(folder), device_for(target), read, draft)
    except SeatrialError as exc:
        return StepResult(step=PLAN, outcome=inconclusive(exc.message), summary=exc.message, facts={})
    return StepResult(
        step=PLAN,
        outcome=facts.plan.outcome,
        summary=_summary(facts.plan),
        facts=facts,
        commands=(_command(folder, target, facts.plan),),
    )


def _summary(plan: Plan) -> str:
    asked = plan.asked
    what = f"one request of {asked.length} tokens, {asked.layout.words()}: {plan.level}"
    if plan.most.tokens is None:
        return f"{what}; {plan.outcome.reason}" if plan.answer is None else f"{what}; limiting: {plan.limiting}"
    held = (
        "no KV cache"
        if not plan.most.tokens
        else f"{plan.most.tokens} tokens of KV cache, with the margin {plan.most.requests} such"
    )
    return f"{what}; {held}; limiting: {plan.limiting}"


def _command(folder: Path, target: Target, plan: Plan) -> Command:
    """By hand, with charts; there, --max-num-seqs also says how many requests of the full length are asked for."""
    asked = plan.asked
    serving, layout = asked.serving, asked.layout
    words: list[str] = ["seatrial", "plan", str(folder), "--target", target.name, "--tp", str(layout.tp)]
    words += ["--max-model-len", str(asked.length), "--gpu-memory-utilization", f"{serving.utilization:g}"]
    for flag, value in (
        ("--pp", layout.pp if layout.pp > 1 else None),
        ("--dp", layout.dp if layout.dp > 1 else None),
        ("--max-num-seqs", serving.max_num_seqs),
        ("--max-num-batched-tokens", serving.max_num_batched_tokens),
        ("--kv-cache-memory-bytes", serving.kv_bytes),
        ("--kv-cache-dtype", None if serving.kv_dtype == "auto" else serving.kv_dtype),
        ("--block-size", serving.block_size),
        ("--spec-tokens", serving.spec_tokens or None),
    ):
        words += [flag, str(value)] if value is not None else []
    for flag, given in (
        ("--ep", layout.ep),
        ("--enforce-eager", serving.eager),
        ("--no-prefix-caching", not serving.prefix_caching),
    ):
        words += [flag] if given else []
    return Command(
        purpose="plan as many requests as the scheduler takes, with charts", argv=(*words, "--html", "plan.html")
    )


def check_step(run: Run, done: Mapping[str, StoredStep]) -> StepResult:
    """Step "plan-check", from the run's records alone. Facts: `PlanCheck`."""
    planned = done.get(PLAN)
    facts = _facts(run, planned) if planned is not None else None
    if facts is None:
        why = f"there is no plan to check: {planned.outcome.reason}" if planned else "the run has no plan"
        return StepResult(step=CHECK, outcome=inconclusive(why), summary=why, facts={})
    gate = next((name for name in reversed(GATES) if name in done and _log(done[name])), "")
    readings = _readings(run, done[gate]) if gate else Readings()
    found = check_plan(facts.plan, readings, _seen(run, done.get("dry"), facts), gate)
    outcome = found.outcome()
    return StepResult(step=CHECK, outcome=outcome, summary=outcome.reason, facts=found)


def evidence_of(done: Mapping[str, StoredStep]) -> dict[str, list[str]]:
    """What a check rests on, by content: a step that was done again makes the check due again."""
    return {
        name: [ref.sha256 for ref in (done[name].facts, *done[name].artifacts)]
        for name in (PLAN, "dry", *GATES)
        if name in done
    }


def _facts(run: Run, stored: StoredStep) -> PlanFacts | None:
    """None for a plan without figures (its facts are empty then)."""
    data = run.artifact(stored.facts).read_bytes()
    return from_json(PlanFacts, data, where=stored.facts.name) if data.strip() != b"{}" else None


def _log(stored: StoredStep) -> bool:
    return bool(stored.inputs) and any(ref.name == LOG for ref in stored.artifacts)


def _readings(run: Run, stored: StoredStep) -> Readings:
    ref = next(ref for ref in stored.artifacts if ref.name == LOG)
    with run.artifact(ref).open("rb") as stream:
        return read_log(stream.read(LOG_BYTES).decode("utf-8", errors="replace"))


def _seen(run: Run, stored: StoredStep | None, facts: PlanFacts) -> DrySeen:
    if stored is None or not stored.inputs:
        return DrySeen()
    return dry_seen(msgspec.json.decode(run.artifact(stored.facts).read_bytes()), facts)
