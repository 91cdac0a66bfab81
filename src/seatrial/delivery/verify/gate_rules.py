"""A gate's verdict, from its command, the kept requests and answers, the list of models and the server's log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from seatrial.core.finding import Finding, errors
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import error, loaded
from seatrial.evidence import StoredStep
from seatrial.gates.facts import GateFacts, RequestFacts
from seatrial.gates.quality import look, read_answer

DUMMY = ("--load-format", "dummy")


def gate_rule(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    step = stored.step
    gate = view.gate(step)
    if gate is None:
        yield error("Y201", step, "the facts are not those of a gate")
        return
    said = stored.outcome.verdict
    wanted = Verdict.PASS if gate.ending == "ready" else Verdict.FAIL
    if said is not wanted:
        yield error("Y202", step, f"the verdict is {said.value}, its ending is {gate.ending!r}")
    if gate.stage != step:
        yield error("Y202", step, f"the facts are of the stage {gate.stage}")
    argv = list(gate.command.argv)
    is_dummy = any(argv[n : n + 2] == list(DUMMY) for n in range(len(argv))) or "--load-format=dummy" in argv
    if is_dummy != (step == "dummy"):
        words = "loads no weights" if is_dummy else "loads the checkpoint's weights"
        yield error("Y206", step, f"the command {words}, which is not what this stage is")
    if gate.ending != "ready":
        return
    yield from _requests(view, gate)
    yield from _log(view, gate)
    if gate.processes_left:
        yield error("Y202", step, f"{len(gate.processes_left)} process(es) were left behind, and the gate passed")
    if gate.worker_deaths:
        yield error("Y205", step, f"a worker died ({gate.worker_deaths[0]}), and the gate passed")
    listed = loaded(view.text(step, "models.json"))
    names = [m.get("id") for m in (listed or {}).get("data", []) if isinstance(m, dict)] if listed else []
    if gate.served_model not in names:
        yield error("Y207", step, f"the kept answer of /v1/models does not list {gate.served_model!r}")
    if not any(m.name == "model-listed" for m in gate.milestones) or gate.ready_s is None:
        yield error("Y202", step, "no milestone says that the model was listed")


def _requests(view: EvidenceView, gate: GateFacts) -> Iterator[Finding]:
    answered = 0
    for request in gate.requests:
        if request.trouble or request.status != 200:
            why = f"status {request.status}, {request.trouble or 'no trouble'}: the gate cannot have passed"
            yield error("Y203", f"{gate.stage}: {request.name}", why)
            continue
        if not request.response_attachment:
            yield error("Y203", f"{gate.stage}: {request.name}", "the answer was not kept")
            continue
        raw = view.text(gate.stage, request.response_attachment)
        answer = read_answer(loaded(raw))
        if answer is None:
            yield error("Y203", f"{gate.stage}: {request.name}", "the kept answer is no answer of a chat or completion")
            continue
        answered += 1
        yield from _answer(gate, request, answer)
        sent = loaded(view.text(gate.stage, request.request_attachment)) if request.request_attachment else None
        if not isinstance(sent, dict) or sent.get("model") != gate.served_model:
            yield error("Y203", f"{gate.stage}: {request.name}", "the kept request does not ask the served model")
    if not answered:
        yield error("Y203", gate.stage, "no answered request is kept, and the gate passed")


def _answer(gate: GateFacts, request: RequestFacts, answer: Any) -> Iterator[Finding]:
    place = f"{gate.stage}: {request.name}"
    if request.text and not answer.text.strip().startswith(request.text.strip()[:40]):
        yield error("Y204", place, "the recorded text is not that of the kept answer")
    if request.completion_tokens is not None and answer.completion_tokens != request.completion_tokens:
        why = f"recorded are {request.completion_tokens} tokens, the kept answer has {answer.completion_tokens}"
        yield error("Y204", place, why)
    for finding in errors(look(answer, gate.stage, place)):
        yield error("Y203", place, f"the kept answer is bad: {finding.message}")


def _log(view: EvidenceView, gate: GateFacts) -> Iterator[Finding]:
    text = view.text(gate.stage, gate.log_attachment) if gate.log_attachment else ""
    if not text:
        yield error("Y205", gate.stage, "the server's log is not there")
        return
    ref = view.artifact(gate.stage, gate.log_attachment)
    if ref is not None and gate.log_bytes and ref.bytes < min(gate.log_bytes, 1 << 20):
        yield error("Y205", gate.stage, f"the log has {ref.bytes} bytes, the gate read {gate.log_bytes}")
    for phase in gate.phases:
        if phase.line and phase.line[:120] not in text:
            yield error("Y205", gate.stage, f"the log does not hold the line of the phase {phase.name!r}")
