"""Each step's verdict, derived again from what lies beside it: answers, logs, tensor accounts, trials.

In: a run's evidence. Out: findings; empty where the records say what the raw evidence says. A rule needs nothing but
the files, so that it holds on a machine without an engine. What cannot be derived again is said (`Y290`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from seatrial.checkpoint.card import Card
from seatrial.checkpoint.step import judge as judge_card
from seatrial.core.errors import FileFormatError
from seatrial.core.finding import Finding, Severity, errors
from seatrial.core.record import from_plain
from seatrial.core.verdict import Verdict, combine
from seatrial.delivery.evidence_view import GATES, EvidenceView
from seatrial.dryrun.account import DryAccount
from seatrial.dryrun.rules import findings as dry_findings
from seatrial.dryrun.run import judge as judge_account
from seatrial.evidence import StoredStep
from seatrial.gates.facts import GateFacts, RequestFacts
from seatrial.gates.quality import look, read_answer

LOG_SIGNS = {
    "loading": re.compile(r"[Ll]oad(?:ing|ed).*(?:model|weights)"),
    "up": re.compile(r"startup complete|Uvicorn"),
}
DUMMY = ("--load-format", "dummy")


def rederive(view: EvidenceView) -> tuple[list[Finding], int]:
    """The findings, and how many verdicts were derived again."""
    found: list[Finding] = []
    derived = 0
    for step, known in view.gathered.steps.items():
        if not known.stored.inputs:
            continue
        if known.problem:
            found.append(_error("Y201", step, f"the facts cannot be read: {known.problem}"))
            continue
        rule = RULES.get(step)
        if rule is None:
            why = "no rule derives this step's verdict from its raw evidence"
            found.append(_finding("Y290", Severity.INFO, step, why, ""))
            continue
        derived += 1
        found += rule(view, known.stored)
    found += _finished(view)
    found += _order(view)
    return found, derived


def _gate(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    step = stored.step
    gate = view.gate(step)
    if gate is None:
        yield _error("Y201", step, "the facts are not those of a gate")
        return
    said = stored.outcome.verdict
    wanted = Verdict.PASS if gate.ending == "ready" else Verdict.FAIL
    if said is not wanted:
        yield _error("Y202", step, f"the verdict is {said.value}, its ending is {gate.ending!r}")
    if gate.stage != step:
        yield _error("Y202", step, f"the facts are of the stage {gate.stage}")
    argv = list(gate.command.argv)
    is_dummy = any(argv[n : n + 2] == list(DUMMY) for n in range(len(argv))) or "--load-format=dummy" in argv
    if is_dummy != (step == "dummy"):
        words = "loads no weights" if is_dummy else "loads the checkpoint's weights"
        yield _error("Y206", step, f"the command {words}, which is not what this stage is")
    if gate.ending != "ready":
        return
    yield from _requests(view, gate)
    yield from _log(view, gate)
    if gate.processes_left:
        yield _error("Y202", step, f"{len(gate.processes_left)} process(es) were left behind, and the gate passed")
    if gate.worker_deaths:
        yield _error("Y205", step, f"a worker died ({gate.worker_deaths[0]}), and the gate passed")
    listed = _json(view.text(step, "models.json"))
    names = [m.get("id") for m in (listed or {}).get("data", []) if isinstance(m, dict)] if listed else []
    if gate.served_model not in names:
        yield _error("Y207", step, f"the kept answer of /v1/models does not list {gate.served_model!r}")
    if not any(m.name == "model-listed" for m in gate.milestones) or gate.ready_s is None:
        yield _error("Y202", step, "no milestone says that the model was listed")


def _requests(view: EvidenceView, gate: GateFacts) -> Iterator[Finding]:
    answered = 0
    for request in gate.requests:
        if request.trouble or request.status != 200:
            why = f"status {request.status}, {request.trouble or 'no trouble'}: the gate cannot have passed"
            yield _error("Y203", f"{gate.stage}: {request.name}", why)
            continue
        if not request.response_attachment:
            yield _error("Y203", f"{gate.stage}: {request.name}", "the answer was not kept")
            continue
        raw = view.text(gate.stage, request.response_attachment)
        answer = read_answer(_json(raw))
        if answer is None:
            yield _error(
                "Y203", f"{gate.stage}: {request.name}", "the kept answer is no answer of a chat or completion"
            )
            continue
        answered += 1
        yield from _answer(gate, request, answer)
        sent = _json(view.text(gate.stage, request.request_attachment)) if request.request_attachment else None
        if not isinstance(sent, dict) or sent.get("model") != gate.served_model:
            yield _error("Y203", f"{gate.stage}: {request.name}", "the kept request does not ask the served model")
    if not answered:
        yield _error("Y203", gate.stage, "no answered request is kept, and the gate passed")


def _answer(gate: GateFacts, request: RequestFacts, answer: Any) -> Iterator[Finding]:
    place = f"{gate.stage}: {request.name}"
    if request.text and not answer.text.strip().startswith(request.text.strip()[:40]):
        yield _error("Y204", place, "the recorded text is not that of the kept answer")
    if request.completion_tokens is not None and answer.completion_tokens != request.completion_tokens:
        why = f"recorded are {request.completion_tokens} tokens, the kept answer has {answer.completion_tokens}"
        yield _error("Y204", place, why)
    for finding in errors(look(answer, gate.stage, place)):
        yield _error("Y203", place, f"the kept answer is bad: {finding.message}")


def _log(view: EvidenceView, gate: GateFacts) -> Iterator[Finding]:
    text = view.text(gate.stage, gate.log_attachment) if gate.log_attachment else ""
    if not text:
        yield _error("Y205", gate.stage, "the server's log is not there")
        return
    ref = view.artifact(gate.stage, gate.log_attachment)
    if ref is not None and gate.log_bytes and ref.bytes < min(gate.log_bytes, 1 << 20):
        yield _error("Y205", gate.stage, f"the log has {ref.bytes} bytes, the gate read {gate.log_bytes}")
    for phase in gate.phases:
        if phase.line and phase.line[:120] not in text:
            yield _error("Y205", gate.stage, f"the log does not hold the line of the phase {phase.name!r}")


def _dry(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    try:
        account = from_plain(DryAccount, view.facts("dry"), where="facts of dry")
    except FileFormatError as exc:
        yield _error("Y201", "dry", exc.message)
        return
    found = dry_findings(account)
    wanted = judge_account(account, found).verdict
    if stored.outcome.verdict is not wanted:
        yield _error("Y208", "dry", f"the verdict is {stored.outcome.verdict.value}, the account says {wanted.value}")
    sums = account.sums
    counted = sum(line.count for line in account.tensors)
    if account.tensors and not account.names_only and counted > sums.tensors:
        yield _error("Y208", "dry", f"the sums count {sums.tensors} tensors, the lines {counted}")
    whole = sums.bytes_placed + sums.bytes_elsewhere + sums.bytes_dropped + sums.bytes_unexplained
    if sums.exact and whole != sums.bytes_in:
        yield _error("Y208", "dry", f"{sums.bytes_in} bytes went in, {whole} are accounted for")


def _inspect(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    try:
        card = from_plain(Card, view.facts("inspect"), where="facts of inspect")
    except FileFormatError as exc:
        yield _error("Y201", "inspect", exc.message)
        return
    wanted = judge_card(card).verdict
    if stored.outcome.verdict is not wanted:
        yield _error("Y209", "inspect", f"the verdict is {stored.outcome.verdict.value}, the card says {wanted.value}")


def _engine(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    if stored.outcome.verdict is Verdict.PASS and errors(stored.findings):
        yield _error("Y209", stored.step, f"it passed with the error {errors(stored.findings)[0].one_line()}")
    version = view.facts("engine").get("vllm_version") or view.facts("engine").get("vllm")
    installed = view.manifest.versions.get("vllm", "")
    if isinstance(version, str) and installed and not installed.startswith(version.split("+")[0]):
        yield _error("Y209", stored.step, f"the step saw vLLM {version}, the manifest lists {installed}")


def _features(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    rows = view.facts("features").get("rows")
    for row in rows if isinstance(rows, list) else []:
        name, status = str(row.get("name")), row.get("status")
        proofs = [p for p in row.get("proofs") or [] if isinstance(p, dict)]
        if status == "supported" and not proofs:
            yield _error("Y210", f"features: {name}", "it is called supported without a proof")
        if status not in ("supported",) and not str(row.get("reason") or "").strip():
            yield _error("Y210", f"features: {name}", f"it is {status} without a reason")
        start = row.get("start") or "base"
        for proof in proofs:
            where, says = str(proof.get("where")), str(proof.get("says"))
            line = re.match(r"server\.log line (\d+)", where)
            if line is None:
                continue
            text = view.text("features", f"{start}-server.log")
            if not text:
                yield _error("Y210", f"features: {name}", f"the log of its start ({start}) is not there")
            elif says[:160] not in text:
                yield _error("Y210", f"features: {name}", "the log does not hold the line that is its proof")
    base = (view.facts("features").get("starts") or {}).get("base")
    ending = base.get("ending") if isinstance(base, dict) else None
    if stored.outcome.verdict is Verdict.PASS and ending not in (None, "ready"):
        yield _error("Y210", "features", f"it passed, and the base run ended {ending!r}")


def _capacity(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    facts = view.facts("capacity")
    trials = [t for t in facts.get("trials") or [] if isinstance(t, dict)]
    want = (facts.get("baseline_context"), facts.get("baseline_sequences"))
    baseline = next((t for t in trials if (t.get("context"), t.get("sequences")) == want), None)
    if baseline is not None and bool(baseline.get("served")) != bool(facts.get("baseline_served")):
        yield _error("Y211", "capacity", "the baseline's trial does not say what the summary says of it")
    if baseline is None and facts.get("baseline_served"):
        yield _error("Y211", "capacity", "the baseline is called served, and no trial is of it")
    served = [t for t in trials if t.get("served")]
    longest = max((int(t["context"]) for t in served if t.get("sequences") == want[1]), default=None)
    if facts.get("longest") != longest:
        yield _error(
            "Y211", "capacity", f"the longest context is given as {facts.get('longest')}, the trials say {longest}"
        )
    for trial in served:
        whole = trial.get("whole_context") or {}
        if whole.get("answered") != whole.get("sent") or not whole.get("answered"):
            place = f"capacity: {trial.get('context')} by {trial.get('sequences')}"
            yield _error("Y211", place, "it is called served, and not every request was answered")


def _soak(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    facts = view.facts("soak")
    whole = facts.get("died_at") is None and facts.get("answered") == facts.get("asked_for") and facts.get("sent")
    if stored.outcome.verdict is Verdict.PASS and not whole:
        why = f"it passed with {facts.get('answered')} answers of {facts.get('asked_for')} requests"
        yield _error("Y214", "soak", why if facts.get("died_at") is None else "it passed, and the server died")
    if stored.outcome.verdict is Verdict.FAIL and whole:
        yield _error("Y214", "soak", "it failed, and every request was answered")


def _finished(view: EvidenceView) -> Iterator[Finding]:
    """The run's own verdict and seal, from those of its steps."""
    finished = view.gathered.finished
    if not finished:
        return
    steps = {s: k.stored for s, k in view.gathered.steps.items()}
    asked = view.manifest.arguments.get("stages")
    verdicts = [s.outcome.verdict for s in steps.values()]
    wanted = combine(verdicts)
    said = finished.get("verdict")
    if said != wanted.value:
        yield _error("Y212", "finished", f"the run's verdict is {said}, its steps come to {wanted.value}")
    real = steps.get("real")
    signed = wanted is Verdict.PASS and real is not None and real.outcome.verdict is Verdict.PASS
    gate = view.gate("real")
    if gate is not None and gate.layers is not None:
        signed = False
    if bool(finished.get("signed_off")) and not signed:
        yield _error("Y212", "finished", "the run is signed off, and its steps do not allow it")
    for stage in asked if isinstance(asked, list) else []:
        if stage not in steps:
            yield _error("Y212", "finished", f"the stage {stage} was asked for and has no record")


def _order(view: EvidenceView) -> Iterator[Finding]:
    """Records are in the order of time, and none is older than the manifest."""
    last = view.manifest.created_at
    for entry in view.run.log.entries:
        if entry.at < last:
            yield _error("Y213", f"record {entry.seq}", f"it is of {entry.at}, before {last}")
        last = max(last, entry.at)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _error(code: str, place: str, message: str) -> Finding:
    return _finding(
        code, Severity.ERROR, place, message, "Do not accept this evidence; ask for the run's folder again."
    )


def _finding(code: str, severity: Severity, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=severity, place=place, message=message, next_step=next_step)


RULES: dict[str, Callable[[EvidenceView, StoredStep], Iterator[Finding]]] = {
    "inspect": _inspect,
    "engine": _engine,
    "support": _engine,
    "dry": _dry,
    **dict.fromkeys(GATES, _gate),
    "features": _features,
    "capacity": _capacity,
    "soak": _soak,
}


def run_folders(place: Path) -> list[Path]:
    """The runs in a folder: itself, those of a workspace, or those of a bundle that holds one."""
    if (place / "manifest.json").is_file():
        return [place]
    for base in (place / "runs", place / ".seatrial" / "runs", place):
        if base.is_dir():
            found = sorted(f for f in base.iterdir() if (f / "manifest.json").is_file())
            if found:
                return found
    return []
