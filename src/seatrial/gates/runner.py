"""One gate: start the server, wait until it is truly ready, ask it, stop it, and say what was proven.

In: a checkpoint, a target, an interpreter. Out: a `StepResult` with `GateFacts`. Raises EngineError for what the user
can mend before any model is involved (a taken port, a command that cannot run), UsageError for no checkpoint.
On every way out the server is stopped.
A little over 250 lines: one gate is one story, and half of the file is records being filled in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from seatrial.core.clock import Stopwatch
from seatrial.core.command import Command
from seatrial.core.errors import UsageError, WorkspaceError
from seatrial.core.finding import Finding
from seatrial.core.record import replace, to_json
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.engine.border import describe_exit
from seatrial.gates.account import Seen, about_departure, about_the_class, account, summary
from seatrial.gates.client import Client
from seatrial.gates.exchange import Exchange, exchange
from seatrial.gates.facts import GateFacts, Milestone, RequestFacts
from seatrial.gates.loaded import LoadedPackage, about_sources, doubt, loaded_packages
from seatrial.gates.log_watch import LogWatch
from seatrial.gates.plan import api_key, gate_plan, served_name, shrink, takes_media
from seatrial.gates.quality import look, read_answer
from seatrial.gates.readiness import Readiness, wait_ready
from seatrial.gates.requests import Question, has_chat_template, questions
from seatrial.gates.room import demand_room
from seatrial.gates.server import Departure, Server
from seatrial.gates.source_memory import MemoryRead, packages_of, plugin_packages, read_sources
from seatrial.gates.veil import Veil
from seatrial.platforms import LaunchPlan
from seatrial.targets import Target

PASSED_OVER = "{} KiB of the log came too fast to be read: phases, class and failed plugins are those of the rest"
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
    layers: int | None = None,
    extra_args: Sequence[str] = (),
    env: dict[str, str] | None = None,
    drop: Sequence[str] = (),
    visit: Callable[[Client], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """Run the gate. `scratch` is a folder for the log and the bodies; `tp` and `max_model_len` None: the target's.

    `layers` cuts the model for a quick look; the facts say so. `env` is laid over the target's launch environment,
    arguments of the target in `drop` are left out. `visit` may ask more of the server once its own requests passed.
    """
    if layers is not None:
        if stage == "real":
            raise UsageError("a model cut to fewer layers has no real weights", mend="Use --layers with --stage dummy.")
        extra_args = (*extra_args, *shrink(checkpoint, layers))
    plan = gate_plan(
        checkpoint,
        target,
        python=python,
        stage=stage,
        tp=tp,
        max_model_len=max_model_len,
        extra_args=extra_args,
        env=env,
        drop=drop,
    )
    try:
        return _Gate(plan, checkpoint, target, python, stage, scratch, multimodal, layers, visit, say).run()
    except OSError as exc:
        raise WorkspaceError(
            f"{exc.filename or scratch}: {exc.strerror or exc}", mend="Free some space there or name another folder."
        ) from exc


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
        layers: int | None,
        visit: Callable[[Client], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self.plan, self.checkpoint, self.target, self.python = plan, checkpoint, target, python
        self.stage, self.multimodal, self.layers, self.say = stage, multimodal, layers, say
        self.visit = visit
        self.clock = Stopwatch()
        self.origin = time.monotonic() - self.clock.now()
        self.folder = scratch / stage
        self.log = self.folder / "server.log"
        self.model = served_name(checkpoint)
        self.host = target.serve.host
        argv = plan.command.argv
        self.port = int(argv[argv.index("--port") + 1])
        self.key = api_key(plan.command)
        self.requests: list[RequestFacts] = []
        self.findings: list[Finding] = []
        self.milestones: list[Milestone] = []
        self.attachments: list[Attachment] = []
        self.commands: list[Command] = [plan.command]
        self.pids: tuple[int, ...] = ()
        self.alive = ""
        self.sources: tuple[LoadedPackage, ...] = ()
        self.worker_sources = MemoryRead(refused="the server did not get ready")

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
                key=self.key,
            )
            self.clock.add("start-up", server.started_at - self.origin, readiness.waited_s, "engine")
            self.milestones.extend(readiness.milestones)
            self.pids = tuple(server.pids())
            self.sources = loaded_packages(self.pids)
            if readiness.ending is None:
                with self.clock.span("look which sources the workers run", "seatrial"):
                    self.worker_sources = read_sources(self.pids, packages_of(self.target))
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
            raise UsageError(f"the checkpoint {self.checkpoint} is not a folder", mend="Name a checkpoint's folder.")
        cwd = Path(self.plan.command.cwd) if self.plan.command.cwd else self.folder / "cwd"
        self.folder.mkdir(parents=True, exist_ok=True)
        cwd.mkdir(exist_ok=True)
        # A log of an earlier try in the same scratch folder is not this server's.
        self.log.unlink(missing_ok=True)
        return cwd

    def _ask(self, server: Server) -> None:
        chat = has_chat_template(self.checkpoint)
        # A model whose config declares no medium we know is still asked with an image, if it is said to be multimodal.
        media = (takes_media(self.checkpoint) or ("image",)) if self.multimodal else ()
        for question in questions(self.model, chat=chat, media=media):
            self.say(f"asking: {question.name}")
            if not self._send(server, question):
                break
        else:
            self._visited(server)
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
            key=self.key,
            alive=lambda: _pump(server),
        )
        self.clock.add(f"request {question.name}", begun, reply.duration_s, "engine")
        answer = read_answer(reply.json()) if reply.status == 200 and reply.how == "answered" else None
        trouble = reply.trouble()
        if not trouble and answer is None:
            trouble = f"HTTP 200 without an answer in it: {reply.body[:120].decode(errors='replace')!r}"
        if answer is not None:
            asked = "logprobs" in question.body
            self.findings.extend(look(answer, self.stage, f"{question.name} request", asked=asked))
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

    def _visited(self, server: Server) -> None:
        """Let the visitor ask; what was answered is kept, judging it is the visitor's business."""
        if self.visit is None:
            return

        def send(method: str, path: str, body: Any) -> Exchange:
            limit = float(self.target.limits.request_s.value or 0)
            return exchange(
                self.host, self.port, method, path, body, timeout_s=limit, key=self.key, alive=lambda: _pump(server)
            )

        client = Client(self.model, send, server.pids)
        with self.clock.span("further requests", "engine"):
            self.visit(client)
        for number, reply in enumerate(client.exchanges, 1):
            self._attach(f"further-{number:02d}.json", reply.body)

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
        key = ("-H", f"Authorization: Bearer {self.key}") if self.key else ()
        argv = ("curl", "-sS", url, "-H", "Content-Type: application/json", *key, "-d", body)
        return Command(purpose=f"send the {question.name} request", argv=argv)

    def _result(
        self, server: Server, watch: LogWatch, readiness: Readiness, departure: Departure, cwd: Path, begun: float
    ) -> StepResult:
        self.attachments.append(Attachment(name="server.log", path=str(self.log)))
        if readiness.models is not None:
            self._attach("models.json", readiness.models.body)
        facts = account(
            Seen(
                stage=self.stage,
                model=self.model,
                checkpoint=str(self.checkpoint.absolute()),
                python=str(self.python),
                plan=self.plan,
                layers=self.layers,
                host=self.host,
                port=self.port,
                cwd=str(cwd),
                log=str(self.log),
                server_pid=server.pid,
                pids=self.pids,
                alive=self.alive,
                readiness=readiness,
                requests=tuple(self.requests),
                milestones=tuple(self.milestones),
                findings=tuple(self.findings),
                departure=departure,
                phases=tuple(watch.phases),
                resolved=watch.resolved,
                log_bytes=watch.size,
                deaths=tuple(watch.deaths),
                sources=self.sources,
                worker_sources=self.worker_sources,
            )
        )
        if facts.ending != "ready":
            demand_room(self.folder)
        if watch.passed_over:
            facts = replace(facts, notes=(*facts.notes, PASSED_OVER.format(watch.passed_over >> 10)))
        self.findings.extend(about_departure(departure, server.grace_s, str(self.log)))
        self.findings.extend(about_the_class(watch.resolved))
        about = about_sources(self.sources, self.worker_sources, self.target.roots, plugin_packages(self.target))
        self.findings.extend(about)
        self.clock.add("read the log and judge", begun, self.clock.now() - begun, "seatrial")
        plain = StepResult(
            step=self.stage,
            outcome=_outcome(facts, doubt(about)),
            summary=summary(facts),
            facts=facts,
            findings=tuple(self.findings),
            commands=tuple(self.commands),
            attachments=tuple(self.attachments),
            timeline=self.clock.spans(),
        )
        return Veil(self.plan.command.argv, {**os.environ, **self.plan.command.env}).result(plain)


def _outcome(facts: GateFacts, doubt: str) -> Outcome:
    """A server that serves proves nothing of the target's sources while those are not seen to be what it runs."""
    if facts.ending != "ready":
        return failed(facts.reason)
    if facts.stage == "real" and facts.resolved.load_format == "dummy":
        return failed("it serves dummy weights: the engine says load_format=dummy")
    return inconclusive(f"it serves, but {doubt}") if doubt else passed()


def _pump(server: Server) -> bool:
    """Take in what the keeper reported; is the server still running?"""
    server.wait(0)
    return server.running
