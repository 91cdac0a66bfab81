"""One measured run of a service: gate, load, figures; from a service and a workload to a `BenchRun` in a `StepResult`.

A run that ends early keeps what it saw; its outcome is inconclusive and its figures are never compared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from seatrial.core.command import Command
from seatrial.core.record import Record, replace, to_json
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Outcome, Verdict, failed, inconclusive, passed
from seatrial.measure.compare.setup import Fact, Setup, workload_facts
from seatrial.measure.compare.verdict import BenchRun
from seatrial.measure.load.counters import speculative
from seatrial.measure.load.dataset import Plan
from seatrial.measure.load.generator import LoadRun, Service, drive
from seatrial.measure.load.metrics import Metrics, measure
from seatrial.measure.load.precheck import Gate, Snapshot, idle_samples, judge_gate, snapshot
from seatrial.measure.load.server_view import counter_lines, foreign_requests, server_view
from seatrial.measure.load.service import Running
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Workload
from seatrial.targets import Target

PROFILER = "a profiler was attached: no measure of performance"


class Counters(Record):
    """The lines of the server's own counters that were read: ahead of the warm-up, behind it, and at the end."""

    begun: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


def measure_once(
    running: Running,
    workload: Workload,
    plan: Plan,
    *,
    target: Target,
    label: str,
    facts: dict[str, Fact],
    before: Snapshot | None,
    scratch: Path,
    step: str,
    also_ours: tuple[int, ...] = (),
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """`before` is the look taken ahead of the service's start (None: nobody looked, so the run is debug).

    `facts` are those of the service; the workload's are added. `also_ours`: pids of other services of ours.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    ours = [*running.pids(), *also_ours]
    idle = idle_samples(target, ours) if before is not None else ()
    load = workload.load
    begun = running.counters()
    warm: list[str] = []
    first = snapshot(target.platform, ours)
    sink = scratch / "requests.jsonl"
    run = drive(
        Service(url=running.url, model=running.model, ca=running.ca, key=running.key),
        plan,
        concurrency=load.concurrency,
        timeout_s=load.timeout_s,
        sink=sink,
        alive=running.alive,
        say=say,
        warmed=lambda: warm.append(running.counters()),
    )
    last = snapshot(target.platform, ours)
    if not run.partial and not running.alive():
        # Seen only now: it died behind the last answer.
        run = replace(run, partial="the service died right after the last answer")
    ended = running.counters() if not run.partial else ""
    before_load = warm[0] if warm else begun
    metrics = measure(
        run,
        concurrency=load.concurrency,
        rate=load.rate,
        stream=workload.sampling.stream,
        exact_length=workload.sampling.ignore_eos,
        speculative=speculative(before_load, ended),
        server=server_view(before_load, ended),
    )
    doubts = (*metrics.doubts, *foreign_requests(begun, ended, run))
    metrics = replace(metrics, doubts=doubts, notes=(*metrics.notes, *about_repeats(plan)))
    gate = judge_gate(target, before, idle, (first, last), last)
    counters = Counters(begun=counter_lines(begun), before=counter_lines(before_load), after=counter_lines(ended))
    return finish(run, metrics, gate, workload, plan, label, facts, step, sink, counters)


def about_repeats(plan: Plan) -> list[str]:
    """A note where a measured request was sent before: a prefix cache answers it."""
    sent = {r.body for r in plan.warmup}
    again = 0
    for request in plan.requests:
        again += request.body in sent
        sent.add(request.body)
    return [f"{again} of {len(plan.requests)} requests were sent before: a prefix cache answers them"] if again else []


def finish(
    run: LoadRun,
    metrics: Metrics,
    gate: Gate,
    workload: Workload,
    plan: Plan,
    label: str,
    facts: dict[str, Fact],
    step: str,
    sink: Path,
    counters: Counters | None = None,
) -> StepResult:
    """Put together what was seen. Beside the requests everything is kept that a figure or a doubt was made of."""
    # What was done is known here: nothing that somebody declares stands in its place.
    setup = Setup(label=label, facts={**facts, **workload_facts(workload, plan, "builtin")})
    doubts = [*gate.reasons, *metrics.doubts]
    doubts += [f"partial: {metrics.partial}"] if metrics.partial else []
    doubts += [PROFILER] if setup.is_profiled else []
    level = judge_sla(metrics, workload.sla)
    bench = BenchRun(
        schema_version=1,
        setup=setup,
        metrics=metrics,
        level="debug" if doubts else "formal",
        doubts=tuple(doubts),
        sla=level,
    )
    attachments = []
    # After a full disk there may be less in the file than was measured, or nothing at all.
    if sink.is_file():
        attachments.append(Attachment(name="requests.jsonl", path=str(sink)))
    kept: dict[str, Record] = {"gate.json": gate, "metrics.json": metrics, "workload.json": workload}
    kept["generator.json"] = replace(run, records=())
    if counters is not None and (counters.before or counters.after):
        kept["counters.json"] = counters
    for name, value in kept.items():
        try:
            (sink.parent / name).write_bytes(to_json(value, indent=2))
        except OSError:
            continue
        attachments.append(Attachment(name=name, path=str(sink.parent / name)))
    return StepResult(
        step=step,
        outcome=outcome_of(bench),
        summary=summary(metrics),
        facts=bench,
        attachments=tuple(attachments),
    )


def summary(metrics: Metrics) -> str:
    """One line of a run."""
    told = f"{metrics.success} of {metrics.total} requests"
    if metrics.request_throughput is not None:
        told += f", {metrics.request_throughput:.2f} req/s"
    if metrics.output_throughput is not None:
        told += f", {metrics.output_throughput:.1f} tok/s"
    if metrics.ttft_ms is not None and metrics.ttft_ms.p99 is not None:
        told += f", TTFT p99 {metrics.ttft_ms.p99:.1f} ms"
    if metrics.tpot_ms is not None and metrics.tpot_ms.p99 is not None:
        told += f", TPOT p99 {metrics.tpot_ms.p99:.2f} ms"
    return told + (f"; partial: {metrics.partial}" if metrics.partial else "")


def seen_by_server(metrics: Metrics) -> str:
    """One line: the mean TTFT on the server's clock and on the client's, which differ by the way and the client."""
    server, client = metrics.server, metrics.ttft_ms
    if server is None or server.ttft_ms is None or client is None or client.avg is None:
        return ""
    added = client.avg - server.ttft_ms
    return (
        f"mean TTFT {client.avg:.2f} ms at the client, {server.ttft_ms:.2f} ms on the server's own clock ({added:+.2f})"
    )


def outcome_of(bench: BenchRun) -> Outcome:
    """What one run says by itself: its service level; without one, whether all of it was measured."""
    metrics = bench.metrics
    if not metrics.is_complete:
        return inconclusive(f"partial: {metrics.partial}")
    if not metrics.success:
        return failed("no request was answered") if metrics.success == 0 else inconclusive("answers were not counted")
    if bench.setup.is_profiled:
        return inconclusive(PROFILER)
    if bench.sla.verdict is not Verdict.NOT_APPLICABLE:
        return bench.sla
    if metrics.failed:
        return inconclusive(f"{metrics.failed} of {metrics.total} requests failed: the figures are of the others")
    return passed() if metrics.failed == 0 else inconclusive("how many requests failed is unknown")


def command_of(running: Running) -> tuple[Command, ...]:
    return (running.command,) if running.command is not None else ()
