"""One gate: start the server, wait until it is truly ready, ask it, stop it, and say what was proven.

In: a checkpoint, a target, an interpreter. Out: a `StepResult` with `GateFacts`. Raises EngineError for what the user
can mend before any model is involved (a taken port, a command that cannot run). On every way out the server is stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from seatrial.core.clock import Stopwatch
from seatrial.core.command import Command
from seatrial.core.errors import EngineError, WorkspaceError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import to_json
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import failed, passed
from seatrial.engine.border import describe_exit
from seatrial.gates.exchange import Exchange, exchange
from seatrial.gates.facts import GateFacts, Milestone, RequestFacts
from seatrial.gates.first_error import first_error
from seatrial.gates.judge import judge
from seatrial.gates.log_watch import LogWatch
from seatrial.gates.plan import gate_plan, served_name
from seatrial.gates.ports import listens
from seatrial.gates.quality import look, read_answer
from seatrial.gates.readiness import Readiness, wait_ready
from seatrial.gates.requests import Question, has_chat_template, questions
from seatrial.gates.server import Departure, Server
from seatrial.platforms import LaunchPlan
from seatrial.targets import Target

SETTLE_S = 0.3  # a crash right behind the last answer is seen within this time


def gate(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    tp: int | None = None,
    max_model_len: int | None = None,
    multimodal: bool = False,
    extra_args: Sequence[str] = (),
    env: dict[str, str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """Run the gate. `scratch` is a folder for the log and the bodies; `tp` and `max_model_len` None: the target's."""
    plan = gate_plan(
        checkpoint,
        target,
        python=python,
        stage=stage,
        tp=tp,
        max_model_len=max_model_len,
        extra_args=extra_args,
        env=env,
    )
    try:
        return run_plan(plan, checkpoint, target, python=python, stage=stage, scratch=scratch, mm=multimodal, say=say)
    except OSError as exc:
        raise WorkspaceError(
            f"{exc.filename or scratch}: {exc.strerror or exc}", mend="Free some space there or name another folder."
        ) from exc


def run_plan(
    plan: LaunchPlan,
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    stage: Literal["dummy", "real"],
    scratch: Path,
    mm: bool,
    say: Callable[[str], None],
) -> StepResult:
    """The gate for a plan that is already made (its port free); see `gate`."""
    return _Gate(plan, checkpoint, target, python, stage, scratch, mm, say).run()


class _Gate:
    def __init__(
        self,
        plan: LaunchPlan,
        checkpoint: Path,
        target: Target,
        python: Path,
        stage: Literal["dummy", "real"],
        scratch: Path,
        multimodal: bool,
        say: Callable[[str], None],
    ) -> None:
        self.plan, self.checkpoint, self.target, self.python = plan, checkpoint, target, python
        self.stage, self.multimodal, self.say = stage, multimodal, say
        self.clock = Stopwatch()
        self.origin = time.monotonic() - self.clock.now()
        self.folder = scratch / stage
        self.log = self.folder / "server.log"
        self.model = served_name(checkpoint)
        self.host = target.serve.host
        argv = plan.command.argv
        self.port = int(argv[argv.index("--port") + 1])
        self.requests: list[RequestFacts] = []
        self.findings: list[Finding] = []
        self.milestones: list[Milestone] = []
        self.attachments: list[Attachment] = []
        self.commands: list[Command] = [plan.command]
        self.pids: tuple[int, ...] = ()
        self.alive = ""

    def run(self) -> StepResult:
        with self.clock.span("prepare", "seatrial"):
            cwd = self._prepare()
        server = Server(
            self.plan.command.argv,
            env={**os.environ, **self.plan.command.env},
            cwd=cwd,
            log=self.log,
            folder=self.folder,
            grace_s=float(self.target.limits.stop_s.value or 0),
        )
        begun = self.clock.now()
        with server:
            self.clock.add("start the process", begun, self.clock.now() - begun, "seatrial")
            watch = LogWatch(self.log, server.started_at)
            readiness = wait_ready(
                server,
                watch,
                host=self.host,
                port=self.port,
                model=self.model,
                limits=self.target.limits,
                say=self.say,
            )
            self.clock.add("start-up", server.started_at - self.origin, readiness.waited_s, "engine")
            self.milestones.extend(readiness.milestones)
            self.pids = tuple(server.pids())
            if readiness.ending is None:
                self._ask(server)
            self.say("stopping the engine")
            with self.clock.span("shutdown", "engine"):
                departure = server.stop(server.grace_s)
            at = (server.exited_at or time.monotonic()) - server.started_at
            self.milestones.append(Milestone(name="ended", at_s=at))
        begun = self.clock.now()
        watch.look()
        return self._result(server, watch, readiness, departure, cwd, begun)

    def _prepare(self) -> Path:
        """Make the folders; the working directory is the target's, else an empty one, so the user's stays clean."""
        if not self.checkpoint.is_dir():
            raise EngineError(f"the checkpoint {self.checkpoint} is not a folder", mend="Name a checkpoint's folder.")
        cwd = Path(self.plan.command.cwd) if self.plan.command.cwd else self.folder / "cwd"
        self.folder.mkdir(parents=True, exist_ok=True)
        cwd.mkdir(exist_ok=True)
        # A log of an earlier try in the same scratch folder is not this server's.
        self.log.unlink(missing_ok=True)
        return cwd

    def _ask(self, server: Server) -> None:
        chat = has_chat_template(self.checkpoint)
        for question in questions(self.model, chat=chat, multimodal=self.multimodal):
            self.say(f"asking: {question.name}")
            if not self._send(server, question):
                break
        with self.clock.span("is it still alive", "seatrial"):
            self.alive = self._still_alive(server)
        if not self.alive:
            self.milestones.append(Milestone(name="alive", at_s=time.monotonic() - server.started_at))

    def _send(self, server: Server, question: Question) -> bool:
        begun = self.clock.now()
        reply = exchange(
            self.host,
            self.port,
            "POST",
            question.path,
            question.body,
            timeout_s=float(self.target.limits.request_s.value or 0),
            alive=lambda: _pump(server),
        )
        self.clock.add(f"request {question.name}", begun, reply.duration_s, "engine")
        answer = read_answer(reply.json()) if reply.status == 200 and reply.how == "answered" else None
        trouble = reply.trouble()
        if not trouble and answer is None:
            trouble = f"HTTP 200 without an answer in it: {reply.body[:120].decode(errors='replace')!r}"
        if answer is not None:
            self.findings.extend(look(answer, self.stage, f"{question.name} request"))
        sent = self._attach(f"request-{question.name}.json", to_json(question.body, indent=2))
        received = self._attach(f"response-{question.name}.json", reply.body)
        self.requests.append(
            RequestFacts(
                name=question.name,
                method="POST",
                path=question.path,
                sent_at_s=self.origin + begun - server.started_at,
                duration_s=reply.duration_s,
                how=reply.how,
                status=reply.status,
                trouble=trouble,
                request_attachment=sent,
                response_attachment=received,
                text=answer.text[:500] if answer is not None else "",
                completion_tokens=answer.completion_tokens if answer is not None else None,
                finish_reason=answer.finish_reason if answer is not None else "",
            )
        )
        self.commands.append(self._curl(question))
        if not trouble:
            self.milestones.append(Milestone(name=question.name, at_s=time.monotonic() - server.started_at))
        return not trouble

    def _still_alive(self, server: Server) -> str:
        until = time.monotonic() + SETTLE_S
        while _pump(server) and time.monotonic() < until:
            server.wait(until - time.monotonic())
        if not server.running:
            how = describe_exit(server.exit_code) if server.exit_code is not None else "unseen"
            return f"the server ended {how} after the last request"
        reply: Exchange = exchange(self.host, self.port, "GET", "/health", timeout_s=10, alive=lambda: _pump(server))
        if reply.how != "answered" or reply.status not in (200, 404):
            return f"/health after the last request says: {reply.trouble()}"
        return ""

    def _attach(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        self.attachments.append(Attachment(name=name, path=str(path)))
        return name

    def _curl(self, question: Question) -> Command:
        url = f"http://{self.host}:{self.port}{question.path}"
        body = to_json(question.body).decode()
        argv = ("curl", "-sS", url, "-H", "Content-Type: application/json", "-d", body)
        return Command(purpose=f"send the {question.name} request", argv=argv)

    def _result(
        self, server: Server, watch: LogWatch, readiness: Readiness, departure: Departure, cwd: Path, begun: float
    ) -> StepResult:
        self.attachments.append(Attachment(name="server.log", path=str(self.log)))
        if readiness.models is not None:
            self._attach("models.json", readiness.models.body)
        error = first_error(self.log) if self.log.is_file() else None
        requests = tuple(self.requests)
        seen = judge(readiness, requests, tuple(self.findings), alive=self.alive, departure=departure, error=error)
        if seen.ending == "ready":
            error = None  # what a healthy server logged on its way down is not the reason of anything
        self.findings.extend(_departure_findings(departure, server.grace_s, str(self.log)))
        self.findings.extend(_class_findings(watch))
        ready = next((m.at_s for m in self.milestones if m.name == "model-listed"), None)
        by: Literal["asked", "killed", "itself", "keeper-lost"] = "asked" if departure.asked else "itself"
        if departure.keeper_lost:
            by = "keeper-lost"
        elif departure.asked and departure.killed:
            by = "killed"
        facts = GateFacts(
            stage=self.stage,
            ending=seen.ending,
            reason=seen.reason,
            served_model=self.model,
            checkpoint=str(self.checkpoint.absolute()),
            tp=self.plan.tp,
            max_model_len=self.plan.max_model_len,
            host=self.host,
            port=self.port,
            python=str(self.python),
            command=self.plan.command,
            cwd=str(cwd),
            server_pid=server.pid,
            engine_pids=self.pids,
            ready_s=ready,
            waited_s=readiness.waited_s,
            seatrial_cpu_s=readiness.seatrial_cpu_s,
            milestones=tuple(self.milestones),
            requests=requests,
            phases=tuple(watch.phases),
            exit_code=departure.exit_code,
            exit_text=describe_exit(departure.exit_code) if departure.exit_code is not None else "",
            stopped_by=by,
            stop_s=departure.took_s,
            processes_left=departure.left,
            port_free_after=not listens(self.host, self.port),
            first_error=error,
            log_attachment="server.log",
            log_bytes=watch.size,
            resolved=watch.resolved,
            deviations=self.plan.deviations,
            notes=(*self.plan.notes, *readiness.notes),
        )
        self.clock.add("read the log and judge", begun, self.clock.now() - begun, "seatrial")
        return StepResult(
            step=self.stage,
            outcome=passed() if seen.ending == "ready" else failed(seen.reason),
            summary=_summary(facts),
            facts=facts,
            findings=tuple(self.findings),
            commands=tuple(self.commands),
            attachments=tuple(self.attachments),
            timeline=self.clock.spans(),
        )


def _pump(server: Server) -> bool:
    """Take in what the keeper reported; is the server still running?"""
    server.wait(0)
    return server.running


def _summary(facts: GateFacts) -> str:
    if facts.ending != "ready" or facts.ready_s is None:
        first = facts.first_error.text if facts.first_error is not None else facts.reason
        return f"{facts.ending}: {' '.join(first.split())[:160]}"
    first_ms = facts.requests[0].duration_s * 1000
    count = len(facts.requests)
    return f"ready in {facts.ready_s:.1f} s, {count} requests answered (the first in {first_ms:.0f} ms), nothing left"


def _departure_findings(departure: Departure, grace_s: float, place: str) -> list[Finding]:
    if departure.keeper_lost:
        message = "the keeper process was killed; the server's processes were found by their token"
        return [_warning("G201", place, message, "See what kills processes on this machine (out of memory?).")]
    if departure.asked and departure.killed:
        message = f"{departure.killed} processes had to be killed: they did not end within {grace_s:.0f} s"
        return [_warning("G202", place, message, "Raise limits.stop_s of the target, or look why it does not end.")]
    return []


def _class_findings(watch: LogWatch) -> list[Finding]:
    found = []
    if watch.resolved.transformers_backend:
        message = f"served by the Transformers backend ({watch.resolved.architecture}), not by a class of the engine"
        found.append(
            _warning("G301", "server.log", message, "The model has no native class here: see the support step.")
        )
    for name in watch.resolved.failed_plugins:
        message = f"the plugin {name} failed to load, and the engine went on without it"
        found.append(_warning("G302", "server.log", message, "Load its entry point by hand with the same interpreter."))
    return found


def _warning(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, place=place, message=message, next_step=next_step)
