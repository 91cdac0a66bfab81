"""From a started server to "its model is listed", or to the reason why not.

The ladder: process alive → port open → /health → /v1/models names the served model. Each rung is looked at every
POLL_S seconds; a report of the keeper (a death) wakes at once. Requests, the upper rungs, are in `requests.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from seatrial.core.record import Record
from seatrial.engine.border import describe_exit
from seatrial.gates.exchange import Exchange, exchange
from seatrial.gates.facts import Ending, Milestone, MilestoneName
from seatrial.gates.log_watch import LogWatch
from seatrial.gates.ports import belongs_to, listens
from seatrial.gates.server import Server
from seatrial.targets import Limits

POLL_S = 0.2  # a rung is noticed at most this late; three local look-ups per poll
CALL_S = 5.0  # for /health and /v1/models, which do no work
IDLE = 0.02  # of one core; below it a silent engine is not computing


class Readiness(Record):
    """`ending` is None once the model is listed; else how the waiting ended and why."""

    ending: Ending | None
    reason: str
    milestones: tuple[Milestone, ...]
    waited_s: float
    seatrial_cpu_s: float
    models: Exchange | None = None


def wait_ready(
    server: Server,
    watch: LogWatch,
    *,
    host: str,
    port: int,
    model: str,
    limits: Limits,
    say: Callable[[str], None],
    key: str = "",
) -> Readiness:
    """Wait; raises nothing of its own (signals pass through). `key` is the server's API key, if it wants one."""
    waiting = _Waiting(server, watch, host, port, model, limits, say, key)
    cpu = time.process_time()
    began = time.monotonic()
    waiting.run()
    return Readiness(
        ending=waiting.ending,
        reason=waiting.reason,
        milestones=tuple(waiting.milestones),
        waited_s=time.monotonic() - began,
        seatrial_cpu_s=time.process_time() - cpu,
        models=waiting.models,
    )


class _Waiting:
    def __init__(
        self,
        server: Server,
        watch: LogWatch,
        host: str,
        port: int,
        model: str,
        limits: Limits,
        say: Callable[[str], None],
        key: str,
    ) -> None:
        self.key = key
        self.server, self.watch, self.host, self.port, self.model, self.say = server, watch, host, port, model, say
        self.ready_s = float(limits.ready_s.value or 0)
        self.stuck_s = float(limits.stuck_s.value or 0)
        self.ending: Ending | None = None
        self.reason = ""
        self.milestones = [Milestone(name="started", at_s=0.0)]
        self.models: Exchange | None = None
        self.rung = self._port
        self.missed = "nobody accepts connections"  # why the rung in hand was not reached at the last look
        self.cpu_s = 0.0
        self.active_at = server.started_at
        self.sampled_at = server.started_at

    def run(self) -> None:
        self.say("waiting for the engine: starting")
        while True:
            if self.watch.look():
                self.say(f"waiting for the engine: {self.watch.phase()}")
            if not self.server.running:
                code = self.server.exit_code
                how = describe_exit(code) if code is not None else "unseen, its keeper was killed"
                return self._end("died", f"the server ended {how} before it was ready")
            if self.rung():
                continue
            if self.ending is not None or self._listed():
                return None
            if self._too_long():
                return None
            self.server.wait(POLL_S)

    def _end(self, ending: Ending, reason: str) -> None:
        self.ending, self.reason = ending, f"{reason} (last seen: {self.watch.phase()})"

    def _listed(self) -> bool:
        return self.milestones[-1].name == "model-listed"

    def _reached(self, name: MilestoneName, note: str = "") -> None:
        at = time.monotonic() - self.server.started_at
        self.milestones.append(Milestone(name=name, at_s=at, note=note))

    def _port(self) -> bool:
        """Each rung: true if it was just reached, so that the next is tried without a pause."""
        if not listens(self.host, self.port):
            return False
        ours = belongs_to(self.port, set(self.server.pids()))
        if ours is False:
            self._end("never-ready", f"another process took port {self.port} first")
            return False
        self._reached("port-open", "" if ours else "whose listener it is could not be seen")
        self.missed = ""
        self.rung = self._health
        return True

    def _health(self) -> bool:
        reply = self._get("/health")
        if reply.how != "answered" or reply.status not in (200, 404):
            self.missed = f"/health: {reply.trouble()}"
            return False
        self._reached("healthy", "the server has no /health" if reply.status == 404 else "")
        self.rung = self._list
        return True

    def _list(self) -> bool:
        reply = self._get("/v1/models")
        if reply.how != "answered" or reply.status != 200:
            self.missed = f"/v1/models: {reply.trouble()}"
            return False
        self.models = reply
        document = reply.json()
        names = [str(m.get("id")) for m in _models(document) if isinstance(m, dict)]
        if self.model not in names:
            shown = ", ".join(names[:5]) or "no model"
            self._end("wrong-model", f"/v1/models names {shown}, not {self.model}")
            return False
        self._reached("model-listed")
        self.rung = lambda: False
        return False

    def _get(self, path: str) -> Exchange:
        left = max(0.2, self.ready_s - (time.monotonic() - self.server.started_at))
        return exchange(self.host, self.port, "GET", path, timeout_s=min(CALL_S, left), key=self.key, alive=self._alive)

    def _alive(self) -> bool:
        self.server.wait(0)
        return self.server.running

    def _too_long(self) -> bool:
        now = time.monotonic()
        if now - self.server.started_at > self.ready_s:
            self._end("never-ready", f"not ready within {self.ready_s:.0f} s: {self.missed}")
            return True
        # Silent is not stuck while it computes: a compiler may say nothing for minutes.
        if now - self.sampled_at > max(0.5, min(self.stuck_s / 10, 10.0)):
            used = _cpu_seconds(self.server.pids())
            if used - self.cpu_s > IDLE * (now - self.sampled_at):
                self.active_at = now
            self.cpu_s, self.sampled_at = used, now
        if now - max(self.watch.grown_at, self.active_at) > self.stuck_s:
            self._end("stuck", f"no line in the log and no computing for {self.stuck_s:.0f} s")
            return True
        return False


def _models(document: object) -> list[object]:
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, list) else []


def _cpu_seconds(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total
