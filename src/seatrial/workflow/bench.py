"""Measure one or two sides and keep it all: service, accuracy smoke, repeats in turn, verdict, each as a step of a run.

The order of a comparison is A B A B …; accuracy is looked at before any figure is measured. A run that ends early keeps
what it has: the step is partial, the run's verdict inconclusive.
More than 250 lines: one bench is one story with one state (services, plans, results, what broke), told in its order.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from seatrial.core.command import Command
from seatrial.core.errors import SeatrialError, Stopped, UsageError
from seatrial.core.record import Record, from_plain, replace, to_json, to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, combine, failed, passed
from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.engine.versions import installed_versions
from seatrial.evidence import Run, StoredStep, Workspace
from seatrial.evidence.records import now, sha256
from seatrial.measure.compare import BenchRun, Judged, interleaved, judge
from seatrial.measure.compare.setup import Fact, Setup
from seatrial.measure.compare.verdict import FIGURES
from seatrial.measure.load.dataset import Plan, TextMaker, make_plan
from seatrial.measure.load.facts import DONE_HERE, checkpoint_facts, declared_facts, launch_facts, with_declared
from seatrial.measure.load.outside import outside_command, run_outside
from seatrial.measure.load.precheck import Snapshot, snapshot
from seatrial.measure.load.service import Running, attached, smoke, started
from seatrial.measure.load.session import PROFILER, measure_once, outcome_of, summary
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Workload
from seatrial.targets import Located, load_target
from seatrial.workflow.begin import manifest_for

VERDICT = "verdict"


class Side(Record):
    """One side: its name, and what is laid over the target for it. `service` is the URL of one that runs already."""

    label: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = msgspec.field(default_factory=dict)
    drop: tuple[str, ...] = ()
    service: str = ""


class BenchJob(Record):
    """What is measured. `under_test`: the fields that may differ between the sides. `runs` a side.

    `serve`: `together` keeps both services up and takes turns, `restart` starts afresh for every run. `facts` are what
    the user declares of a service that seatrial did not start. `tool` other than builtin needs `tool_python`.
    """

    kind: Literal["bench"]
    sides: tuple[Side, ...]
    workload: Workload
    target: str = "cpu"
    checkpoint: str = ""
    model: str = ""
    runs: int = 1
    serve: Literal["together", "restart"] = "restart"
    under_test: tuple[str, ...] = ()
    judged_by: str = "request_throughput"
    smoke: bool = True
    facts: tuple[str, ...] = ()
    tool: str = "builtin"
    tool_python: str = ""
    tp: int | None = None
    max_model_len: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.sides) <= 2 or len({s.label for s in self.sides}) != len(self.sides):
            raise ValueError("a bench has one side, or two with different labels")
        if self.runs < 1:
            raise ValueError("runs must be at least 1")
        if self.judged_by not in FIGURES:
            raise ValueError(f"judged_by must be one of {', '.join(FIGURES)}")
        if not self.checkpoint and any(not s.service for s in self.sides):
            raise ValueError("a side without a service needs a checkpoint to start")
        taken = [name for name in declared_facts(self.facts) if name.startswith(DONE_HERE)]
        if taken:
            raise ValueError(f"{taken[0]} is what this bench itself does, and cannot be declared")


class BenchEnded(Record):
    """What came of it. `judged` None with one side, or when a side was never measured."""

    run_id: str
    folder: str
    verdict: Verdict
    reason: str
    runs: tuple[BenchRun, ...]
    judged: Judged | None = None


def run_bench(
    job: BenchJob,
    *,
    workspace: Workspace,
    overrides: Path | None,
    argv: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda text: None,
) -> BenchEnded:
    """Do it. Raises what a user can mend before the run begins; later the run keeps the error and it is raised."""
    located = load_target(job.target, overrides)
    return _Bench(job, located, workspace, argv, say).run()


def bench_runs(run: Run) -> list[BenchRun]:
    """The measured runs kept in a run, in their order."""
    found = []
    for stored in run.steps().values():
        if stored.step.startswith("bench-"):
            data = msgspec.json.decode(run.artifact(stored.facts).read_bytes())
            found.append(from_plain(BenchRun, data, where=f"{run.run_id} {stored.step}"))
    return found


class _Bench:
    def __init__(
        self,
        job: BenchJob,
        located: Located,
        workspace: Workspace,
        argv: tuple[str, ...],
        say: Callable[[str], None],
    ) -> None:
        self.job, self.located, self.workspace, self.argv, self.say = job, located, workspace, argv, say
        self.target = located.target
        self.checkpoint = Path(job.checkpoint) if job.checkpoint else None
        self.starts = any(not s.service for s in job.sides)
        self.python: Path | None = None
        self.plans: dict[str, Plan] = {}
        self.results: dict[str, list[BenchRun]] = {s.label: [] for s in job.sides}
        self.stored: list[StoredStep] = []
        self.smoked: set[str] = set()
        self.broken = ""
        self.inputs = ""
        self.texts: dict[tuple[int, int], list[str]] = {}

    def run(self) -> BenchEnded:
        if self.checkpoint is not None and not self.checkpoint.is_dir():
            raise UsageError(f"the checkpoint {self.checkpoint} is not a folder", mend="Name a checkpoint's folder.")
        if self.checkpoint is not None and (self.starts or self.job.workload.dataset.form == "text"):
            self.python = target_python(self.target)
        name = self.workspace.new_run_id(f"bench-{self.job.workload.name}")
        scratch = self.workspace.scratch(name)
        versions: dict[str, str] = {}
        if self.starts and self.python is not None:
            with ProbeSession(self.python, log=scratch / "probe.log", env=self.target.launch.env) as session:
                versions = installed_versions(session)
        facts = checkpoint_facts(self.checkpoint) if self.checkpoint is not None else {}
        inputs = {k: str(v) for k, v in facts.items() if k in ("model", "tokenizer") and v is not None}
        manifest = manifest_for(
            name,
            arguments=to_plain(self.job),
            checkpoint=str(self.checkpoint.resolve()) if self.checkpoint is not None else self.job.sides[0].service,
            located=self.located,
            python=str(self.python or ""),
            versions=versions,
            inputs=inputs,
            argv=self.argv,
        )
        # The whole run is done again by a replay: a single step's inputs are those of the run. (Empty means "not run".)
        self.inputs = sha256(to_json([manifest.arguments, manifest.target, versions, inputs]))
        run = Run.create(self.workspace.runs_folder / name, manifest)
        self.say(f"run {name}")
        try:
            return self._measure(run, scratch, facts)
        except (Stopped, KeyboardInterrupt) as exc:
            run.append("interrupted", {"reason": str(exc) or "interrupted"})
            raise
        except SeatrialError as exc:
            run.append("error", {"reason": exc.one_line()})
            raise
        finally:
            run.close()

    def _measure(self, run: Run, scratch: Path, facts: dict[str, Fact]) -> BenchEnded:
        order = interleaved(self.job.runs) if len(self.job.sides) == 2 else "A" * self.job.runs
        before = snapshot(self.target.platform) if self.starts else None
        with contextlib.ExitStack() as stack:
            services: dict[str, Running] = {}
            for number, letter in enumerate(order):
                side = self.job.sides["AB".index(letter)]
                if self.job.serve == "restart" and not side.service:
                    before = snapshot(self.target.platform)
                    with self._start(side, scratch / f"server-{number}") as running:
                        self._one(run, side, running, facts, before, scratch, ())
                else:
                    if not services:
                        for other in self.job.sides:
                            services[other.label] = stack.enter_context(
                                self._start(other, scratch / f"server-{other.label}")
                            )
                    others = tuple(p for s in services.values() for p in s.pids())
                    self._one(run, side, services[side.label], facts, before, scratch, others)
                if self.broken:
                    break
        return self._end(run)

    @contextlib.contextmanager
    def _start(self, side: Side, scratch: Path) -> Iterator[Running]:
        if side.service:
            yield attached(side.service, self.job.model or None)
            return
        if self.checkpoint is None or self.python is None:
            raise UsageError("a side without a service needs a checkpoint", mend="Use --checkpoint or --service.")
        self.say(f"{side.label}: starting the service")
        with started(
            self.checkpoint,
            self.target,
            python=self.python,
            scratch=scratch,
            extra_args=side.args,
            env=side.env,
            drop=side.drop,
            tp=self.job.tp,
            max_model_len=self.job.max_model_len,
            say=self.say,
        ) as running:
            yield running

    def _one(
        self,
        run: Run,
        side: Side,
        running: Running,
        facts: dict[str, Fact],
        before: Snapshot | None,
        scratch: Path,
        others: tuple[int, ...],
    ) -> None:
        if self.job.smoke and side.label not in self.smoked:
            self._smoke(run, side, running)
            if self.broken:
                return
        known = dict(facts)
        if running.command is not None:
            reading = before.reading if before is not None else None
            known.update(launch_facts(running.command, self.target, running.version, reading))
        known = with_declared(known, declared_facts(self.job.facts))
        number = len(self.results[side.label]) + 1
        step = f"bench-{side.label}-{number}"
        started_at, began = now(), time.monotonic()
        self.say(f"{side.label}: run {number} of {self.job.runs}")
        if self.job.tool == "builtin":
            result = measure_once(
                running,
                self.job.workload,
                self._plan(running.model),
                target=self.target,
                label=side.label,
                facts=known,
                before=before,
                scratch=scratch / step,
                step=step,
                also_ours=others,
                say=self.say,
            )
        else:
            result = self._outside(running, side, known, scratch / step, step)
        if running.command is not None:
            result = replace(result, commands=(running.command, *result.commands))
        if running.server is not None:
            log = Attachment(name=f"server-{side.label}.log", path=str(running.server.log))
            result = replace(result, attachments=(*result.attachments, log))
        bench: BenchRun = replace(result.facts, evidence=f"{run.run_id}/{step}")
        result = replace(result, facts=bench)
        self.results[side.label].append(bench)
        took = time.monotonic() - began
        self.stored.append(run.store(result, inputs=self.inputs, started_at=started_at, duration_s=took))
        self.say(f"{side.label}: {result.summary}")
        if bench.metrics.partial:
            self.broken = bench.metrics.partial
            stopped = bench.metrics.partial.startswith("stopped by SIG")
            if stopped:
                raise Stopped(int(getattr(signal, bench.metrics.partial.split()[-1])))

    def _outside(self, running: Running, side: Side, facts: dict[str, Fact], folder: Path, step: str) -> StepResult:
        """A run by another tool. Its bodies are its own, so that its order hash is unknown to us."""
        job = self.job
        folder.mkdir(parents=True, exist_ok=True)
        if not job.tool_python or self.checkpoint is None:
            raise UsageError(
                f"--tool {job.tool} needs its own interpreter and the tokenizer's folder",
                mend="Give --tool-python and --checkpoint.",
            )
        command = outside_command(
            job.tool,
            Path(job.tool_python),
            job.workload,
            url=running.url,
            model=running.model,
            tokenizer=str(self.checkpoint.absolute()),
            out=(folder / "out").absolute(),
        )
        limit = max(600.0, job.workload.load.timeout_s)
        seen = run_outside(
            job.tool, command, job.workload, (folder / "out").absolute(), folder / "tool.log", timeout_s=limit
        )
        load, dataset = job.workload.load, job.workload.dataset
        known: dict[str, Fact] = {
            **facts,
            "tool": job.tool,
            "workload.dataset": f"random {dataset.input_tokens} tokens by {job.tool}",
            "workload.order": f"{job.tool} with seed {load.seed}",
            "workload.requests": load.requests,
            "workload.concurrency": load.concurrency,
            "workload.rate": load.rate,
            "workload.warmup": load.warmup,
            "workload.output_tokens": dataset.output_tokens * load.requests,
            "sla": "; ".join(sorted(s.name() for s in job.workload.sla)),
            **{
                f"sampling.{k}": "server default" if v is None else v
                for k, v in to_plain(job.workload.sampling).items()
            },
        }
        setup = Setup(label=side.label, facts=known)
        level = judge_sla(seen.metrics, job.workload.sla)
        doubts = ("an outside tool: nobody looked around its load", *seen.metrics.doubts)
        doubts += (PROFILER,) if setup.is_profiled else ()
        bench = BenchRun(
            schema_version=1,
            setup=setup,
            metrics=seen.metrics,
            level="debug",
            doubts=doubts,
            sla=level,
        )
        return StepResult(
            step=step,
            outcome=outcome_of(bench),
            summary=summary(seen.metrics),
            facts=bench,
            commands=(command,),
            attachments=(
                Attachment(name=Path(seen.output).name, path=seen.output),
                Attachment(name=f"{job.tool}.log", path=seen.log),
            ),
        )

    def _smoke(self, run: Run, side: Side, running: Running) -> None:
        """Accuracy before performance: what answers nonsense is not measured."""
        self.smoked.add(side.label)
        self.say(f"{side.label}: a few answers, looked at")
        started_at, began = now(), time.monotonic()
        limit = float(self.target.limits.request_s.value or 120)
        seen = smoke(running, self.checkpoint, limit)
        result = StepResult(
            step=f"accuracy-{side.label}",
            outcome=passed() if seen.passed else failed(seen.reason),
            summary=f"readable answers (level {seen.level}, no claim of accuracy)" if seen.passed else seen.reason,
            facts=seen,
            findings=seen.findings,
        )
        took = time.monotonic() - began
        self.stored.append(run.store(result, inputs=self.inputs, started_at=started_at, duration_s=took))
        if not seen.passed:
            self.broken = f"{side.label}: accuracy before performance: {seen.reason}"

    def _plan(self, model: str) -> Plan:
        if model not in self.plans:
            self.plans[model] = make_plan(self.job.workload, model, self._text_maker())
        return self.plans[model]

    def _text_maker(self) -> TextMaker | None:
        if self.checkpoint is None or self.python is None:
            return None

        def make(lengths: list[int], seed: int) -> list[str]:
            request = {"folder": str(self.checkpoint), "lengths": lengths, "seed": seed}
            log = self.workspace.scratch("texts") / "probe.log"
            with ProbeSession(Path(self.python or ""), log=log, env=self.target.launch.env) as session:
                reply = session.call("exact_text", request, timeout_s=float(self.target.limits.probe_s.value or 600))
            if reply.status != "answered":
                raise UsageError(f"no exact text could be made: {reply.trouble()}", mend="Use dataset.form = 'tokens'.")
            texts: list[str] = reply.answer["texts"]
            return texts

        return make

    def _end(self, run: Run) -> BenchEnded:
        judged = None
        sides = [self.results[s.label] for s in self.job.sides]
        if len(sides) == 2 and all(sides):
            judged = judge(
                sides[0],
                sides[1],
                under_test=self.job.under_test,
                judged_by=self.job.judged_by,
                sla=self.job.workload.sla,
            )
            outcome = judged.outcome()
            result = StepResult(step=VERDICT, outcome=outcome, summary=judged.reason, facts=judged)
            self.stored.append(run.store(result, inputs=self.inputs, started_at=now(), duration_s=0.0))
            # The comparison is the question; single runs only answer for themselves.
            verdict, reason = outcome.verdict, judged.reason
            accuracy = [s for s in self.stored if s.step.startswith("accuracy-")]
            if any(s.outcome.verdict is Verdict.FAIL for s in accuracy):
                verdict, reason = Verdict.FAIL, self.broken
        else:
            verdict = combine(s.outcome.verdict for s in self.stored)
            reason = self.broken or next((s.outcome.reason for s in self.stored if s.outcome.verdict is verdict), "")
        if self.broken and verdict is Verdict.PASS:
            verdict, reason = Verdict.INCONCLUSIVE, self.broken
        run.append(
            "finished",
            {"verdict": verdict, "signed_off": False, "reason": reason, "kind": "bench", "run_id": run.run_id},
        )
        return BenchEnded(
            run_id=run.run_id,
            folder=str(run.folder),
            verdict=verdict,
            reason=reason,
            runs=tuple(r for side in sides for r in side),
            judged=judged,
        )


def commands_of(run: Run) -> list[Command]:
    """Every command a kept bench was made of, without repeats."""
    found: dict[str, Command] = {}
    for stored in run.steps().values():
        for command in stored.commands:
            found.setdefault(command.shell(), command)
    return list(found.values())
