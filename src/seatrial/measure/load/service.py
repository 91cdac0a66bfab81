"""A service to measure: a target's server under the gates' keeper, or one that runs already.

In: a checkpoint and a target, or a URL. Out: `Running` inside a context that stops what it started. Refuses
(EngineError) a server that does not become ready, with the log's own reason.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from seatrial.core.command import Command
from seatrial.core.errors import EngineError, UsageError
from seatrial.core.finding import Finding, errors
from seatrial.core.record import Record
from seatrial.core.secrets import REDACTED
from seatrial.gates.exchange import Exchange, exchange
from seatrial.gates.first_error import first_error
from seatrial.gates.log_watch import LogWatch
from seatrial.gates.plan import api_key, gate_plan, installed_version, served_name
from seatrial.gates.quality import look, read_answer
from seatrial.gates.readiness import wait_ready
from seatrial.gates.requests import has_chat_template, questions
from seatrial.gates.server import Server
from seatrial.gates.veil import Veil
from seatrial.measure.accuracy.records import Level
from seatrial.measure.load.generator import address, trusted
from seatrial.targets import Target


class Smoke(Record):
    """A few greedy answers, looked at: none may be empty, broken or not a number.

    Level L1 of `measure.accuracy` (readable), since nothing is asserted of what they say: no claim of accuracy.
    """

    passed: bool
    reason: str
    texts: tuple[str, ...]
    findings: tuple[Finding, ...]
    level: Level = "L1"


# Where servers show their counters: Prometheus text (vLLM, SGLang), brpc's variables (xLLM).
COUNTER_PAGES = ("/metrics", "/vars")


class Running:
    """A service that answers. `server` None: somebody else's. `key`: what it lets its callers in by; nobody keeps it.

    `pages` are those with its counters; `engine` is what is known of who serves ("" for somebody else's service).
    """

    def __init__(
        self,
        url: str,
        model: str,
        server: Server | None,
        command: Command | None,
        version: str,
        ca: str = "",
        key: str = "",
        *,
        engine: str = "",
        pages: tuple[str, ...] = COUNTER_PAGES,
    ) -> None:
        self.url, self.model, self.server, self.command, self.version = url, model, server, command, version
        self.where, self.ca, self.key = address(url), ca, key
        self.engine, self.pages = engine, pages
        self.tls = trusted(self.where, ca)

    def hide(self, text: str) -> str:
        """What the service said, without its key."""
        return text.replace(self.key, REDACTED) if self.key else text

    def counters(self) -> str:
        """The text of its pages of counters; empty where it has none. A page that is not there is asked for once."""
        found = {page: self.text(page) for page in self.pages}
        self.pages = tuple(page for page, text in found.items() if text)
        return "\n".join(found[page] for page in self.pages)

    def alive(self) -> bool:
        if self.server is None:
            return True
        self.server.wait(0)
        return self.server.running

    def pids(self) -> list[int]:
        return self.server.pids() if self.server is not None else []

    def get(self, path: str) -> Exchange:
        """One request without a body. The environment's proxies are not asked."""
        where = self.where
        return exchange(where.host, where.port, "GET", where.prefix + path, timeout_s=10, key=self.key, tls=self.tls)

    def text(self, path: str) -> str:
        """The page's text; empty if it is not there."""
        reply = self.get(path)
        return reply.body.decode(errors="replace") if reply.how == "answered" and reply.status == 200 else ""


@contextlib.contextmanager
def started(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    scratch: Path,
    extra_args: Sequence[str] = (),
    env: dict[str, str] | None = None,
    drop: Sequence[str] = (),
    tp: int | None = None,
    max_model_len: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Running]:
    """Start `checkpoint` with real weights on `target`; on every way out the server and all it started are ended."""
    if not checkpoint.is_dir():
        raise UsageError(f"the checkpoint {checkpoint} is not a folder", mend="Name a checkpoint's folder.")
    plan = gate_plan(
        checkpoint,
        target,
        python=python,
        stage="real",
        tp=tp,
        max_model_len=max_model_len,
        extra_args=extra_args,
        env=env,
        drop=drop,
    )
    scratch.mkdir(parents=True, exist_ok=True)
    log = scratch / "server.log"
    log.unlink(missing_ok=True)
    cwd = Path(plan.command.cwd) if plan.command.cwd else scratch / "cwd"
    cwd.mkdir(exist_ok=True)
    argv = plan.command.argv
    port = int(argv[argv.index("--port") + 1])
    host, model, key = target.serve.host, served_name(checkpoint), api_key(plan.command)
    server = Server(
        argv,
        env={**os.environ, **plan.command.env},
        cwd=cwd,
        log=log,
        folder=scratch,
        grace_s=float(target.limits.stop_s.value or 0),
    )
    with server:
        watch = LogWatch(log, server.started_at)
        ready = wait_ready(server, watch, host=host, port=port, model=model, limits=target.limits, say=say, key=key)
        if ready.ending is not None:
            error = first_error(log) if log.is_file() else None
            why = f"{ready.reason}: {error.text}" if error is not None else ready.reason
            # An engine's first words are its own arguments, a key among them; the error is kept with the run.
            why = Veil(argv, {**os.environ, **plan.command.env}).text(why)
            raise EngineError(f"the service is not ready ({ready.ending}): {why}", mend=f"Its log: {log}.")
        version = installed_version(python, "vllm")
        yield Running(f"http://{host}:{port}", model, server, plan.command, version, key=key, engine="vllm")


def key_from(name: str) -> str:
    """The key in the environment variable `name`; "" for no name. Raises UsageError where there is none."""
    if not name:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise UsageError(f"the variable {name} is not set", mend=f"Set {name} to the service's key.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"the variable {name} holds no key that a header can carry", mend=f"Mend {name}.")
    return key


def attached(url: str, model: str | None, ca: str = "", key: str = "") -> Running:
    """A service that runs already. The model is the one it lists, if it lists one only."""
    running = Running(url, model or "", None, None, "", ca, key)
    reply = running.get("/v1/models")
    if "CERTIFICATE_VERIFY_FAILED" in reply.error:
        raise EngineError(
            f"{url} is not trusted: {reply.error}", mend="Give the certificate it is to be trusted by with --ca FILE."
        )
    if reply.status in (401, 403):
        told = "does not take the key" if key else "asks for a key"
        raise EngineError(
            f"{url} {told} (HTTP {reply.status})", mend="Name the variable that holds its key with --key-env NAME."
        )
    document = reply.json() if reply.how == "answered" and reply.status == 200 else None
    data = document.get("data") if isinstance(document, dict) else None
    names = [str(m.get("id")) for m in data if isinstance(m, dict)] if isinstance(data, list) else []
    if not names:
        raise EngineError(
            f"{url} lists no model: {running.hide(reply.trouble()) or 'no list'}", mend="Is that the service's URL?"
        )
    if model and model not in names:
        raise UsageError(f"{url} does not serve {model!r}", mend=f"It serves {', '.join(names[:8])}.")
    if not model and len(names) > 1:
        raise UsageError(f"{url} serves {len(names)} models", mend=f"Name one with --model: {', '.join(names[:8])}.")
    running.model = model or names[0]
    return running


def smoke(running: Running, checkpoint: Path | None, timeout_s: float) -> Smoke:
    """Ask the gate's own questions and look at the answers as the real gate does."""
    chat = has_chat_template(checkpoint) if checkpoint is not None else False
    texts: list[str] = []
    found: list[Finding] = []
    for question in questions(running.model, chat=chat, media=()):
        reply = exchange(
            running.where.host,
            running.where.port,
            "POST",
            running.where.prefix + question.path,
            question.body,
            timeout_s=timeout_s,
            key=running.key,
            tls=running.tls,
            alive=running.alive,
        )
        answer = read_answer(reply.json()) if reply.how == "answered" and reply.status == 200 else None
        if answer is None:
            why = f"the {question.name} question got no answer: {running.hide(reply.trouble()) or 'no choice in it'}"
            return Smoke(passed=False, reason=why, texts=tuple(texts), findings=tuple(found))
        texts.append(answer.text)
        found.extend(look(answer, "real", f"{question.name} question"))
    grave = errors(found)
    reason = grave[0].message if grave else ""
    return Smoke(passed=not grave, reason=reason, texts=tuple(texts), findings=tuple(found))
