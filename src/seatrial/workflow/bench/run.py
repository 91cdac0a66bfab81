"""Measure one or two sides and keep it all: service, accuracy smoke, repeats in turn, verdict, each as a step of a run.

The order of a comparison is A B A B …; accuracy is looked at before any figure is measured. A run that ends early keeps
what it has: the step is partial, the run's verdict inconclusive.
More than 250 lines: one bench is one story with one state (services, plans, results, what broke), told in its order.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from seatrial.core.errors import SeatrialError, Stopped, UsageError
from seatrial.core.record import replace, to_json, to_plain
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import Verdict, combine
from seatrial.engine.border import ProbeSession
from seatrial.engine.choose import target_python
from seatrial.engine.versions import installed_versions
from seatrial.evidence import Run, StoredStep, Workspace
from seatrial.evidence.records import now, sha256
from seatrial.measure.compare import BenchRun, interleaved, judge
from seatrial.measure.compare.setup import Fact
from seatrial.measure.load.dataset import Plan, make_plan
from seatrial.measure.load.facts import checkpoint_facts, declared_facts, launch_facts, program_fact, with_declared
from seatrial.measure.load.precheck import Snapshot, snapshot
from seatrial.measure.load.service import Running, attached, key_from, started
from seatrial.measure.load.session import measure_once
from seatrial.measure.search import FRAMEWORKS
from seatrial.measure.search.serving import launched
from seatrial.targets import Located, load_target
from seatrial.workflow.begin import manifest_for
from seatrial.workflow.bench.job import BenchEnded, BenchJob, Side
from seatrial.workflow.bench.kept import ACCURACY, MEASURED, VERDICT
from seatrial.workflow.bench.steps import outside_step, smoke_step, text_maker


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
        self.key = ""
        self.plans: dict[str, Plan] = {}
        self.results: dict[str, list[BenchRun]] = {s.label: [] for s in job.sides}
        self.stored: list[StoredStep] = []
        self.smoked: set[str] = set()
        self.broken = ""
        self.inputs = ""

    def run(self) -> BenchEnded:
        if self.checkpoint is not None and not self.checkpoint.is_dir():
            raise UsageError(f"the checkpoint {self.checkpoint} is not a folder", mend="Name a checkpoint's folder.")
        is_vllm = self.job.framework == "vllm"
        if self.checkpoint is not None and ((self.starts and is_vllm) or self.job.workload.dataset.form == "text"):
            self.python = target_python(self.target)
        # Before anything is kept: a key that is not there is a mistake of the call.
        self.key = key_from(self.job.key_env)
        name = self.workspace.new_run_id(f"bench-{self.job.workload.name}")
        scratch = self.workspace.scratch(name)
        versions: dict[str, str] = {}
        if self.starts and is_vllm and self.python is not None:
            with ProbeSession(self.python, log=scratch / "probe.log", env=self.target.launch.env) as session:
                versions = installed_versions(session)
        facts = checkpoint_facts(self.checkpoint) if self.checkpoint is not None else {}
        inputs = {k: str(v) for k, v in facts.items() if k in ("model", "tokenizer") and v is not None}
        program = program_fact(Path(self.job.program)) if self.job.program else None
        if program is not None:
            inputs["program"] = str(program)
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
            ended = self._measure(run, scratch, facts)
            if not self.broken:
                # What belongs to the evidence is in the run; of what broke, the rest may say why.
                shutil.rmtree(scratch, ignore_errors=True)
            return ended
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
                        # In turns of its own, a side that is started here is not up beside the other's.
                        for other in [s for s in self.job.sides if s.service or self.job.serve == "together"]:
                            services[other.label] = stack.enter_context(
                                self._start(other, scratch / f"server-{len(services)}")
                            )
                    others = tuple(p for s in services.values() for p in s.pids())
                    self._one(run, side, services[side.label], facts, before, scratch, others)
                if self.broken:
                    break
        return self._end(run)

    @contextlib.contextmanager
    def _start(self, side: Side, scratch: Path) -> Iterator[Running]:
        if side.service:
            yield attached(side.service, self.job.model or None, self.job.ca, self.key)
            return
        if self.checkpoint is None:
            raise UsageError("a side without a service needs a checkpoint", mend="Use --checkpoint or --service.")
        self.say(f"{side.label}: starting the service")
        if self.job.framework != "vllm":
            with launched(
                FRAMEWORKS.get(self.job.framework),
                Path(self.job.program),
                self.checkpoint,
                self.target,
                scratch=scratch,
                args=side.args,
                env=side.env,
                say=self.say,
            ) as running:
                yield running
            return
        if self.python is None:
            raise UsageError("vLLM needs the target's interpreter", mend="See `seatrial doctor`.")
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
            version = running.version or (str(program_fact(Path(self.job.program))) if self.job.program else "")
            known.update(launch_facts(running.command, self.target, version, reading, running.engine))
        known = with_declared(known, declared_facts(self.job.facts))
        number = len(self.results[side.label]) + 1
        step = f"{MEASURED}{side.label}-{number}"
        started_at, began = now(), time.monotonic()
        self.say(f"{side.label}: run {number} of {self.job.runs}")
        # A label may hold anything, a path too: the folder is told by number.
        place = scratch / f"{MEASURED}{'AB'[self.job.sides.index(side)]}-{number}"
        if self.job.tool == "builtin":
            result = measure_once(
                running,
                self.job.workload,
                self._plan(running.model),
                target=self.target,
                label=side.label,
                facts=known,
                before=before,
                scratch=place,
                step=step,
                also_ours=others,
                say=self.say,
            )
        else:
            result = outside_step(self.job, running, side.label, known, self.checkpoint, place, step)
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

    def _smoke(self, run: Run, side: Side, running: Running) -> None:
        """Accuracy before performance: what answers nonsense is not measured."""
        self.smoked.add(side.label)
        self.say(f"{side.label}: a few answers, looked at")
        started_at, began = now(), time.monotonic()
        result = smoke_step(side.label, running, self.checkpoint, self.target)
        took = time.monotonic() - began
        self.stored.append(run.store(result, inputs=self.inputs, started_at=started_at, duration_s=took))
        if result.outcome.verdict is not Verdict.PASS:
            self.broken = f"{side.label}: accuracy before performance: {result.outcome.reason}"

    def _plan(self, model: str) -> Plan:
        if model not in self.plans:
            maker = text_maker(self.checkpoint, self.python, self.target, self.workspace)
            self.plans[model] = make_plan(self.job.workload, model, maker)
        return self.plans[model]

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
            accuracy = [s for s in self.stored if s.step.startswith(ACCURACY)]
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
