"""From what a gate saw to its facts, its one-line summary and the findings about the server's end and class. Pure but
for two looks: at the log (the first error) and at the port (free again?).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record
from seatrial.engine.border import describe_exit
from seatrial.gates.facts import GateFacts, Milestone, Phase, RequestFacts, Resolved
from seatrial.gates.first_error import LogError, first_error
from seatrial.gates.judge import Judgement, judge
from seatrial.gates.loaded import LoadedPackage
from seatrial.gates.ports import listens
from seatrial.gates.readiness import Readiness
from seatrial.gates.server import Departure
from seatrial.gates.source_memory import MemoryRead
from seatrial.platforms import LaunchPlan


class Seen(Record):
    """The raw material of `GateFacts`, by the same names."""

    stage: Literal["dummy", "real"]
    model: str
    checkpoint: str
    python: str
    plan: LaunchPlan
    layers: int | None
    host: str
    port: int
    cwd: str
    log: str
    server_pid: int
    pids: tuple[int, ...]
    alive: str
    readiness: Readiness
    requests: tuple[RequestFacts, ...]
    milestones: tuple[Milestone, ...]
    findings: tuple[Finding, ...]
    departure: Departure
    phases: tuple[Phase, ...]
    resolved: Resolved
    log_bytes: int
    deaths: tuple[str, ...] = ()
    sources: tuple[LoadedPackage, ...] = ()
    worker_sources: MemoryRead = MemoryRead(refused="not looked at")


def account(seen: Seen) -> GateFacts:
    """Judge, and put everything into one record."""
    departure = seen.departure
    log = Path(seen.log)
    judged, error = _judged(seen, None), None
    if judged.ending != "ready" and log.is_file():
        # What a healthy server logs on its way down is not the reason of anything, and its log may be a gigabyte.
        error = first_error(log)
        judged = _judged(seen, error)
    return GateFacts(
        stage=seen.stage,
        ending=judged.ending,
        reason=judged.reason,
        served_model=seen.model,
        checkpoint=seen.checkpoint,
        tp=seen.plan.tp,
        max_model_len=seen.plan.max_model_len,
        layers=seen.layers,
        host=seen.host,
        port=seen.port,
        python=seen.python,
        command=seen.plan.command,
        cwd=seen.cwd,
        server_pid=seen.server_pid,
        engine_pids=seen.pids,
        ready_s=next((m.at_s for m in seen.milestones if m.name == "model-listed"), None),
        waited_s=seen.readiness.waited_s,
        seatrial_cpu_s=seen.readiness.seatrial_cpu_s,
        milestones=seen.milestones,
        requests=seen.requests,
        phases=seen.phases,
        exit_code=departure.exit_code,
        exit_text=describe_exit(departure.exit_code) if departure.exit_code is not None else "",
        worker_deaths=seen.deaths,
        stopped_by=_stopped_by(departure),
        stop_s=departure.took_s,
        processes_left=departure.left,
        port_free_after=not listens(seen.host, seen.port),
        first_error=error,
        log_attachment="server.log",
        log_bytes=seen.log_bytes,
        resolved=seen.resolved,
        sources=seen.sources,
        worker_sources=seen.worker_sources,
        deviations=seen.plan.deviations,
        notes=seen.plan.notes,
    )


def _judged(seen: Seen, error: LogError | None) -> Judgement:
    return judge(
        seen.readiness,
        seen.requests,
        seen.findings,
        alive=seen.alive,
        departure=seen.departure,
        error=error,
        deaths=seen.deaths,
    )


def _stopped_by(departure: Departure) -> Literal["asked", "killed", "itself", "keeper-lost"]:
    if departure.keeper_lost:
        return "keeper-lost"
    if not departure.asked:
        return "itself"
    return "killed" if departure.killed else "asked"


def summary(facts: GateFacts) -> str:
    if facts.ending != "ready" or facts.ready_s is None:
        first = facts.first_error.text if facts.first_error is not None else facts.reason
        return f"{facts.ending}: {' '.join(first.split())[:160]}"
    first_ms = facts.requests[0].duration_s * 1000
    count = len(facts.requests)
    return f"ready in {facts.ready_s:.1f} s, {count} requests answered (the first in {first_ms:.0f} ms), nothing left"


def about_departure(departure: Departure, grace_s: float, place: str) -> list[Finding]:
    if departure.keeper_lost:
        message = "the keeper process was killed; the server's processes were found by their token"
        return [_warning("G201", place, message, "See what kills processes on this machine (out of memory?).")]
    if departure.asked and departure.killed:
        message = f"{departure.killed} processes had to be killed: they did not end within {grace_s:.0f} s"
        return [_warning("G202", place, message, "Raise limits.stop_s of the target, or look why it does not end.")]
    return []


def about_the_class(resolved: Resolved) -> list[Finding]:
    found = []
    if resolved.transformers_backend:
        message = f"served by the Transformers backend ({resolved.architecture}), not by a class of the engine"
        found.append(
            _warning("G301", "server.log", message, "The model has no native class here: see the support step.")
        )
    for name in resolved.failed_plugins:
        message = f"the plugin {name} failed to load, and the engine went on without it"
        found.append(_warning("G302", "server.log", message, "Load its entry point by hand with the same interpreter."))
    return found


def _warning(code: str, place: str, message: str, next_step: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, place=place, message=message, next_step=next_step)
