"""Single steps of a bench, from a service to a `StepResult`: the look at a few answers, a run by an outside tool."""

from __future__ import annotations

from pathlib import Path

from seatrial.core.errors import UsageError
from seatrial.core.record import replace, to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import failed, passed
from seatrial.engine.border import ProbeSession
from seatrial.evidence import Workspace
from seatrial.measure.compare import BenchRun
from seatrial.measure.compare.setup import Fact, Setup
from seatrial.measure.load.counters import speculative
from seatrial.measure.load.dataset import TextMaker
from seatrial.measure.load.outside import outside_command, run_outside
from seatrial.measure.load.server_view import server_view
from seatrial.measure.load.service import Running, smoke
from seatrial.measure.load.session import PROFILER, outcome_of, summary
from seatrial.measure.load.sla import judge_sla
from seatrial.targets import Target
from seatrial.workflow.bench.job import BenchJob
from seatrial.workflow.bench.kept import ACCURACY

LEAST_S = 600.0  # an outside tool may take this long to begin


def smoke_step(label: str, running: Running, checkpoint: Path | None, target: Target) -> StepResult:
    """Accuracy before performance: what answers nonsense is not measured."""
    seen = smoke(running, checkpoint, float(target.limits.request_s.value or 120))
    return StepResult(
        step=f"{ACCURACY}{label}",
        outcome=passed() if seen.passed else failed(seen.reason),
        summary=f"readable answers (level {seen.level}, no claim of accuracy)" if seen.passed else seen.reason,
        facts=seen,
        findings=seen.findings,
    )


def outside_step(
    job: BenchJob,
    running: Running,
    label: str,
    facts: dict[str, Fact],
    checkpoint: Path | None,
    folder: Path,
    step: str,
) -> StepResult:
    """A run by another tool. Its bodies are its own, so that its order hash is unknown to us."""
    folder.mkdir(parents=True, exist_ok=True)
    if not job.tool_python or checkpoint is None:
        raise UsageError(
            f"--tool {job.tool} needs its own interpreter and the tokenizer's folder",
            mend="Give --tool-python and --checkpoint.",
        )
    out = (folder / "out").absolute()
    command = outside_command(
        job.tool,
        Path(job.tool_python),
        job.workload,
        url=running.url,
        model=running.model,
        tokenizer=str(checkpoint.absolute()),
        out=out,
        ca=running.ca,
        has_key=bool(running.key),
    )
    begun = running.counters()
    limit = max(LEAST_S, job.workload.load.timeout_s)
    seen = run_outside(job.tool, command, job.workload, out, folder / "tool.log", timeout_s=limit, key=running.key)
    ended = running.counters()
    # The server's own counters, its warm-up among them: the same clock for every tool.
    metrics = replace(
        seen.metrics,
        speculative=speculative(begun, ended) or seen.metrics.speculative,
        server=server_view(begun, ended),
    )
    setup = Setup(label=label, facts={**facts, **_outside_facts(job)})
    doubts = ("an outside tool: nobody looked around its load", *metrics.doubts)
    bench = BenchRun(
        schema_version=1,
        setup=setup,
        metrics=metrics,
        level="debug",
        doubts=(*doubts, PROFILER) if setup.is_profiled else doubts,
        sla=judge_sla(metrics, job.workload.sla),
    )
    return StepResult(
        step=step,
        outcome=outcome_of(bench),
        summary=summary(metrics),
        facts=bench,
        commands=(command,),
        attachments=(
            *(Attachment(name=str(Path(f).relative_to(out)), path=f) for f in (seen.output, *seen.others)),
            Attachment(name=f"{job.tool}.log", path=seen.log),
        ),
    )


def _outside_facts(job: BenchJob) -> dict[str, Fact]:
    """The workload's side of the table, as far as the tool was told it."""
    load, dataset = job.workload.load, job.workload.dataset
    return {
        "tool": job.tool,
        "workload.dataset": f"random {dataset.input_tokens} tokens by {job.tool}",
        "workload.order": f"{job.tool} with seed {load.seed}",
        "workload.requests": load.requests,
        "workload.concurrency": load.concurrency,
        "workload.rate": load.rate,
        "workload.warmup": load.warmup,
        "workload.output_tokens": dataset.output_tokens * load.requests,
        "sla": "; ".join(sorted(s.name() for s in job.workload.sla)),
        **{f"sampling.{k}": "server default" if v is None else v for k, v in to_plain(job.workload.sampling).items()},
    }


def text_maker(checkpoint: Path | None, python: Path | None, target: Target, workspace: Workspace) -> TextMaker | None:
    """Texts of an exact length by the model's own tokenizer, in the engine's world; None without either."""
    if checkpoint is None or python is None:
        return None

    def make(lengths: list[int], seed: int) -> list[str]:
        request = {"folder": str(checkpoint), "lengths": lengths, "seed": seed}
        log = workspace.scratch("texts") / "probe.log"
        with ProbeSession(python, log=log, env=target.launch.env) as session:
            reply = session.call("exact_text", request, timeout_s=float(target.limits.probe_s.value or 600))
        if reply.status != "answered":
            raise UsageError(f"no exact text could be made: {reply.trouble()}", mend="Use dataset.form = 'tokens'.")
        texts: list[str] = reply.answer["texts"]
        return texts

    return make
