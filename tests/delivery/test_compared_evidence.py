"""Ladder and agreement are derived again: a ladder from its rungs, an agreement from the kept answers and the logs."""

from __future__ import annotations

# ruff: noqa: E501 - a fault is one line: what is changed, and the code that must tell
import json
from pathlib import Path

import pytest
from delivery_runs import make_run, recorded
from forgery import forge

from seatrial.core.finding import Severity
from seatrial.core.record import from_plain, to_json, to_plain
from seatrial.core.verdict import Verdict
from seatrial.delivery.verify import verify_bundle
from seatrial.gates.agree import Greedy, compare
from seatrial.gates.agreement import AgreementFacts
from seatrial.gates.agreement import judge as judge_agreement
from seatrial.gates.facts import GateFacts
from seatrial.gates.ladder import Climbed, LadderFacts, Rung, conclude, signature_of

ENGINE = "(EngineCore pid=1) INFO Initializing a V1 LLM engine (v0.32.0) with config: enforce_eager={eager}, compilation_config={{'mode': {mode}}}\n"
EAGER = ENGINE.format(eager=True, mode="<CompilationMode.NONE: 0>")
COMPILED = ENGINE.format(eager=False, mode="<CompilationMode.VLLM_COMPILE: 3>")


def greedy(last: str = "d") -> list[Greedy]:
    """Eight answers; the last one ends with `last`, and `d` and `e` are a rounding's width apart there."""
    top = tuple({"a": -3.0, "b": -3.0, "c": -3.0, "d": -0.1, "e": -0.15} for _ in range(4))
    return [
        Greedy(tokens=("a", "b", "c", last if number == 7 else "d"), logprobs=(-0.1,) * 4, top=top)
        for number in range(8)
    ]


def step_of(step: str, verdict: str, reason: str, facts: object, attachments: dict, commands=()) -> dict:
    """A step as the recorded run's file holds them."""
    return {
        "outcome": {"verdict": verdict, "reason": reason}, "summary": step, "findings": [], "commands": list(commands),
        "timeline": [], "duration_s": 1.0, "inputs": "x", "facts": to_plain(facts), "attachments": attachments,
    }  # fmt: skip


@pytest.fixture
def agreed(workspace):
    """A run with an agreement: batch 1 against 8, and eager against compiled with one near-tie."""
    base, other = greedy(), greedy("e")
    found = (compare("batch 1", "batch 8", base, base), compare("eager", "compiled", base, other))
    facts = AgreementFacts(stage="real", comparisons=found, not_compared=())
    kept = {
        "base-answers-1.json": to_json(base).decode(), "base-answers-8.json": to_json(base).decode(),
        "compiled-answers-1.json": to_json(other).decode(), "base-server.log": EAGER, "compiled-server.log": COMPILED,
    }  # fmt: skip
    what = recorded()
    what["steps"]["agreement"] = step_of("agreement", judge_agreement(facts).verdict.value, "", facts, kept)
    return make_run(workspace, what, name="20261121-000000-agreed-0000")


def failed_gate() -> GateFacts:
    """The recorded real gate, as it would be had it been false-ready."""
    plain = recorded()["steps"]["real"]["facts"]
    return from_plain(GateFacts, {**plain, "ending": "false-ready", "reason": "HTTP 500 of pid 1234"}, where="gate")


@pytest.fixture
def climbed(workspace):
    """A run whose real gate was false-ready, with a ladder of three rungs; the last one serves."""
    gate = failed_gate()
    signature = signature_of(gate)
    rungs = (
        Rung(name="repeat", kind="repeat", change="the same once more"),
        Rung(
            name="eager",
            kind="isolation",
            change="eager mode",
            args=("--enforce-eager",),
            layer="compilation or graph capture",
        ),
        Rung(
            name="without-quantization",
            kind="workaround",
            change="without the target's quantization",
            drop=("quantization",),
        ),
    )
    served = (False, True, True)
    seen = tuple(
        Climbed(
            rung=r,
            ending="ready" if ok else "false-ready",
            signature="" if ok else signature,
            same_signature=not ok,
            reason="",
        )
        for r, ok in zip(rungs, served, strict=True)
    )
    layers = ("compilation or graph capture",)
    told = conclude(seen, rungs[2], layers, steady=True)
    facts = LadderFacts(signature=signature, climbed=seen, working=rungs[2], isolated_to=layers, conclusion=told)
    answer = recorded()["steps"]["real"]["attachments"]["response-text.json"]
    argv = ["vllm", "serve", "m"]
    commands = [
        {"purpose": "serve", "argv": [*argv, "--quantization", "ascend"], "env": {}},
        {"purpose": "serve", "argv": [*argv, "--quantization", "ascend", "--enforce-eager"], "env": {}},
        {"purpose": "serve", "argv": argv, "env": {}},
    ]
    kept = {"eager-response-text.json": answer, "without-quantization-response-text.json": answer}
    what = recorded()
    steps = {name: what["steps"][name] for name in ("inspect", "engine", "support", "dry", "dummy", "real")}
    steps["real"]["facts"] = to_plain(gate)
    steps["real"]["outcome"] = {"verdict": "fail", "reason": "it was false-ready"}
    steps["real-ladder"] = step_of("real-ladder", "fail", told, facts, kept, commands)
    what["steps"] = steps
    return make_run(workspace, what)


def errors(folder: Path) -> set[str]:
    report = verify_bundle(folder)
    return {f.code for f in report.runs[0].findings if f.severity is Severity.ERROR}


def test_an_agreement_and_a_ladder_that_say_what_their_evidence_says_verify_without_a_word(agreed, climbed):
    for run in (agreed, climbed):
        report = verify_bundle(run.folder)
        assert report.verdict is Verdict.PASS
        assert report.runs[0].findings == ()


def _facts(step, change):
    return lambda b, f, a: f(step, change)


def _wider(data: bytes) -> bytes:
    rows = json.loads(data)
    rows[7]["top"][3]["e"] = -9.0
    rows[7]["tokens"][3] = "f"
    return json.dumps(rows).encode()


AGREED = {
    "another margin": _facts("agreement", lambda d: d["comparisons"][1]["divergences"][0].update(margin=3.0)),
    "a fail called pass": lambda b, f, a: a("agreement", "base-answers-1.json", lambda d: d.replace(b'"e":-0.15', b'"e":-7.5')),
    "a divergence left out": _facts("agreement", lambda d: d["comparisons"][1].update(divergences=[], equal=8)),
    "more equal prompts": _facts("agreement", lambda d: d["comparisons"][1].update(equal=8)),
    "a smaller difference": _facts("agreement", lambda d: d["comparisons"][0].update(worst_logprob=1.5)),
    "not compared, and passed": _facts("agreement", lambda d: d.update(not_compared=["eager and compiled: no"])),
    "other answers": lambda b, f, a: a("agreement", "compiled-answers-1.json", _wider),
    "answers that are none": lambda b, f, a: a("agreement", "base-answers-8.json", lambda d: b"[1, 2]"),
    "nothing compiled": lambda b, f, a: a("agreement", "compiled-server.log", lambda d: EAGER.encode()),
    "inconclusive called pass": _facts("agreement", lambda d: d.update(comparisons=[])),
}  # fmt: skip


@pytest.mark.parametrize("name", AGREED)
def test_a_forged_agreement_is_caught(name, agreed):
    forge(agreed.folder, AGREED[name])
    assert "Y216" in errors(agreed.folder)


CLIMBED = {
    "a ladder called passed": lambda b, f, a: b["real-ladder"]["outcome"].update(verdict="pass", reason=""),
    "another failure than the gate's": _facts("real-ladder", lambda d: d.update(signature="startup: out of memory")),
    "a rung that failed called serving": _facts("real-ladder", lambda d: d["climbed"][0].update(ending="ready")),
    "a serving rung without an answer": lambda b, f, a: b["real-ladder"].update(artifacts=b["real-ladder"]["artifacts"][1:]),
    "another conclusion": _facts("real-ladder", lambda d: d.update(conclusion="it serves with one change: nothing")),
    "an isolation called a mend": _facts("real-ladder", lambda d: d.update(working=d["climbed"][1]["rung"])),
    "a layer made up": _facts("real-ladder", lambda d: d.update(isolated_to=["the driver"])),
    "a command without the change": lambda b, f, a: b["real-ladder"]["commands"][1].update(argv=["vllm", "serve", "m"]),
    "a dropped argument still there": lambda b, f, a: b["real-ladder"]["commands"][2].update(argv=["vllm", "--quantization", "x"]),
    "a command left out": lambda b, f, a: b["real-ladder"].update(commands=b["real-ladder"]["commands"][:2]),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIMBED)
def test_a_forged_ladder_is_caught(name, climbed):
    forge(climbed.folder, CLIMBED[name])
    assert "Y215" in errors(climbed.folder)


def test_a_ladder_after_a_gate_that_passed_is_caught(climbed):
    ready = recorded()["steps"]["real"]["facts"]
    forge(
        climbed.folder,
        lambda b, f, a: (f("real", lambda d: d.update(ready)), b["real"]["outcome"].update(verdict="pass", reason="")),
    )
    assert "Y215" in errors(climbed.folder)


def test_answers_that_an_older_version_did_not_keep_are_said_and_are_no_fault(agreed):
    def change(bodies, facts, artifact):
        kept = bodies["agreement"]["artifacts"]
        bodies["agreement"]["artifacts"] = [a for a in kept if a["name"].endswith(".log")]

    forge(agreed.folder, change)
    report = verify_bundle(agreed.folder)
    assert report.verdict is Verdict.PASS
    assert [f.code for f in report.runs[0].findings] == ["Y290", "Y290"]
