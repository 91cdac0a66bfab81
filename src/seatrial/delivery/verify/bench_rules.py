"""A measured run of a bench: every figure from its requests, every doubt from its gate, its setup from what was sent.

In: a step `bench-SIDE-N`. Out: findings Y218 (figures), Y219 (setup), Y220 (gate, level, verdict). What was not kept
and is not in the requests either (which processes were ours, a tokenizer) is taken from the record, and said (Y290).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.finding import Finding
from seatrial.core.record import Record, from_json, from_plain, replace, to_plain
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.verify.common import differing, error, note
from seatrial.evidence import StoredStep
from seatrial.measure.compare import BenchRun, workload_facts
from seatrial.measure.load.counters import speculative
from seatrial.measure.load.dataset import Plan, make_plan
from seatrial.measure.load.facts import DONE_HERE, declared_facts, launch_facts
from seatrial.measure.load.generator import LoadRun, late_p99_of
from seatrial.measure.load.metrics import Metrics, measure
from seatrial.measure.load.outside import completed
from seatrial.measure.load.precheck import Gate, judge_gate
from seatrial.measure.load.readers import read_results
from seatrial.measure.load.records import read_requests
from seatrial.measure.load.server_view import foreign_requests, server_view
from seatrial.measure.load.session import PROFILER, Counters, about_repeats, outcome_of, summary
from seatrial.measure.load.sla import judge_sla
from seatrial.measure.load.workload import Workload
from seatrial.targets import Target

R = TypeVar("R", bound=Record)
MEASURED = "bench-"
# Of the launch's facts those that its command alone says; the devices are the machine's.
BY_COMMAND = ("flag.", "env.", "tensor_parallel", "profiler_attached", "dtype", "quantization")
OF_ITS_CORE = "of its core, so it was itself a bottleneck"
USED_TOO, REPEATED = "others used it too", "a prefix cache answers them"
MOST_REQUESTS = 500_000
MOST_TOKENS = 20_000_000  # of prompts made again: seconds of work, whatever a manifest asks for
DISK_FULL = "the records cannot be written any more"


def measured(view: EvidenceView, stored: StoredStep) -> Iterator[Finding]:
    """One measured run, by the built-in generator or by a tool."""
    step = stored.step
    bench = from_plain(BenchRun, view.facts(step), where=f"facts of {step}")
    workload = workload_of(view)
    yield from _asked(view, stored, bench, workload)
    if bench.setup.get("tool") == "builtin":
        yield from _builtin(view, stored, bench, workload)
    else:
        yield from _outside(view, stored, bench, workload)
    level = "debug" if bench.doubts else "formal"
    if bench.level != level:
        yield error("Y220", step, f"the level is {bench.level}, with {len(bench.doubts)} doubt(s) it is {level}")
    if bench.sla != judge_sla(bench.metrics, workload.sla):
        yield error("Y220", step, f"the service level is {bench.sla.verdict.value}, the figures say otherwise")
    wanted = outcome_of(bench)
    if stored.outcome != wanted:
        said, told = stored.outcome.verdict.value, wanted.verdict.value
        yield error("Y220", step, f"the verdict is {said} {stored.outcome.reason!r}, the figures make it {told}")
    if stored.summary != summary(bench.metrics):
        yield error("Y218", step, f"the summary {stored.summary!r} is not that of the figures")


def workload_of(view: EvidenceView) -> Workload:
    """What the bench was asked for, from the manifest; raises FileFormatError if that is none."""
    return from_plain(Workload, view.manifest.arguments.get("workload"), where="the manifest's workload")


def plan_of(view: EvidenceView, workload: Workload) -> Plan | None:
    """The requests made again, where nothing but the workload is needed for it and they are not too many."""
    load, dataset = workload.load, workload.dataset
    count = load.requests + load.warmup
    many = count * dataset.input_tokens > MOST_TOKENS or count > MOST_REQUESTS
    if dataset.file or dataset.form == "text" or many:
        return None
    return make_plan(workload, view.checkpoint_name)


def side_of(view: EvidenceView, label: str) -> dict[str, Any] | None:
    """The side of that name as the manifest has it."""
    sides = view.manifest.arguments.get("sides")
    listed = sides if isinstance(sides, list) else []
    return next((s for s in listed if isinstance(s, dict) and s.get("label") == label), None)


def kept(view: EvidenceView, stored: StoredStep, name: str, kind: type[R]) -> R | None:
    """A document of the step's artifacts; None if it was not kept. Raises FileFormatError if it is no such document."""
    ref = view.artifact(stored.step, name)
    if ref is None:
        return None
    path = _plain(view, ref.file)
    return from_json(kind, path.read_bytes(), where=f"{name} of {stored.step}")


def _plain(view: EvidenceView, file: str) -> Path:
    path = view.run.artifacts_folder / file
    if Path(file).name != file or path.is_symlink() or not path.is_file():
        raise FileFormatError(f"the artifact {file} is no plain file of the run")
    return path


def _asked(view: EvidenceView, stored: StoredStep, bench: BenchRun, workload: Workload) -> Iterator[Finding]:
    """What was measured is what the manifest asks for: side, workload, command, checkpoint, version."""
    step, facts = stored.step, bench.setup.facts
    side = side_of(view, bench.setup.label)
    if side is None or not step.removeprefix(f"{MEASURED}{bench.setup.label}-").isdigit():
        yield error("Y219", step, f"the side {bench.setup.label!r} is none that this step can be of")
        return
    if bench.evidence != f"{view.run_id}/{step}":
        yield error("Y219", step, f"it calls itself {bench.evidence!r}")
    plan = plan_of(view, workload)
    if workload.dataset.file:
        yield note(step, "the data set lies outside of the evidence: its hash and its order's were not derived again")
    elif workload.dataset.form == "text":
        yield note(step, "the texts need the model's tokenizer: the hash of their order was not derived again")
    elif plan is None:
        yield note(step, "the requests are too many to be made again here: the hash of their order was not derived")
    if facts.get("tool") == "builtin" and plan is not None:
        made = workload_facts(workload, plan, "builtin")
        for name in sorted(n for n in facts if n.startswith(DONE_HERE)):
            if facts[name] != made.get(name):
                why = f"{name} is {facts[name]!r}, the workload makes it {made.get(name)!r}"
                yield error("Y219", step, why)
        if lost := sorted(n for n in made if n not in facts):
            yield error("Y219", step, f"the setup does not say {', '.join(lost[:5])}")
    for name in ("model", "tokenizer"):
        known = view.manifest.inputs.get(name)
        if known and facts.get(name) != known:
            yield error("Y219", step, f"the {name} is {facts.get(name)!r}, the manifest's is {known!r}")
    yield from _command(view, stored, bench, side)


def _command(view: EvidenceView, stored: StoredStep, bench: BenchRun, side: dict[str, Any]) -> Iterator[Finding]:
    if side.get("service"):
        yield note(stored.step, f"the service at {side['service']} was not started by seatrial: its setup is declared")
        pairs = view.manifest.arguments.get("facts")
        for name, value in declared_facts(tuple(map(str, pairs))).items() if isinstance(pairs, list) else ():
            if bench.setup.get(name) != value:
                why = f"{name} was declared as {value!r}, the setup says {bench.setup.get(name)!r}"
                yield error("Y219", stored.step, why)
        return
    step, command = stored.step, stored.commands[0] if stored.commands else None
    if command is None:
        yield error("Y219", step, "the command that started the service is not recorded")
        return
    target = from_plain(Target, view.manifest.target, where="the manifest's target")
    made = launch_facts(command, target, "", None)
    mine = bench.setup.facts
    for name in sorted({n for n in (*made, *mine) if n.startswith(BY_COMMAND)}):
        # Without a flag, dtype and quantisation are the checkpoint's.
        known = made.get(name)
        if mine.get(name) != known and not (known is None and name in ("dtype", "quantization")):
            yield error("Y219", step, f"{name} is {mine.get(name)!r}, the command says {known!r}")
    is_program = view.manifest.arguments.get("framework") not in (None, "vllm")
    version = mine.get("engine.version")
    installed = view.manifest.inputs.get("program") if is_program else view.manifest.versions.get("vllm")
    if is_program and not str(version).startswith("program "):
        installed = None  # it said its version itself
    if version and installed and version != installed:
        yield error("Y219", step, f"the engine was {version!r}, the manifest lists {installed!r}")
    absent = [str(w) for w in side.get("args") or () if w not in command.argv]
    dropped = [f"--{d}" for d in side.get("drop") or () if f"--{d}" in command.argv]
    unset = [n for n, v in (side.get("env") or {}).items() if command.env.get(n) != v]
    if absent or dropped or unset:
        yield error("Y219", step, f"the command is not that of the side: {', '.join([*absent, *dropped, *unset])}")
    if view.artifact(step, f"server-{bench.setup.label}.log") is None:
        yield error("Y219", step, "the server's log is not kept")


def _builtin(view: EvidenceView, stored: StoredStep, bench: BenchRun, workload: Workload) -> Iterator[Finding]:
    step = stored.step
    ref = view.artifact(step, "requests.jsonl")
    if ref is None:
        yield error("Y218", step, "no request is kept")
        return
    read = read_requests(_plain(view, ref.file))
    beside = kept(view, stored, "workload.json", Workload)
    if beside != workload:
        yield error("Y219", step, "the workload that was kept beside the requests is not the manifest's")
    figures = kept(view, stored, "metrics.json", Metrics)
    if figures is not None and figures != bench.metrics:
        yield error("Y218", step, "metrics.json is not what the step's facts say")
    seen = [r for r in read.records if not r.warmup]
    places = [(r.warmup, r.index) for r in read.records]
    if len(set(places)) != len(places):
        yield error("Y218", step, "one request is there twice")
    full = (workload.load.requests, workload.load.warmup)
    have = (len(seen), len(read.records) - len(seen))
    if not bench.metrics.partial and (have != full or read.torn):
        yield error(
            "Y218", step, f"{have[0]} requests and {have[1]} of the warm-up are kept of {full[0]} and {full[1]}"
        )
    if bench.metrics.partial.startswith(DISK_FULL):
        yield note(step, "the disk was full: the requests that could not be kept are not derived again")
        return
    generator = kept(view, stored, "generator.json", LoadRun)
    if generator is None:
        yield note(step, "the generator's own use of its core was not kept by the version that ran: taken as recorded")
    late = late_p99_of(seen)
    run = LoadRun(
        records=read.records,
        planned=workload.load.requests,
        duration_s=generator.duration_s if generator is not None else 0.0,
        partial=generator.partial if generator is not None else bench.metrics.partial,
        late_p99_s=late,
        cpu_share=generator.cpu_share if generator is not None else 0.0,
    )
    said = bench.metrics
    counters = kept(view, stored, "counters.json", Counters)
    counted, seen_by = said.speculative, said.server
    others: tuple[str, ...] = tuple(d for d in said.doubts if d.endswith(USED_TOO))
    if counters is not None:
        begun, before, after = ("\n".join(lines) for lines in (counters.begun, counters.before, counters.after))
        counted, seen_by = speculative(before, after), server_view(before, after)
        others = foreign_requests(begun, after, run)
    elif counted is not None or seen_by is not None:
        yield note(step, "the server's counters were not kept by the version that ran: taken as recorded")
    again = measure(
        run,
        concurrency=workload.load.concurrency,
        rate=workload.load.rate,
        stream=workload.sampling.stream,
        exact_length=workload.sampling.ignore_eos,
        speculative=counted,
        server=seen_by,
    )
    plan = plan_of(view, workload)
    repeated = about_repeats(plan) if plan is not None else [n for n in said.notes if n.endswith(REPEATED)]
    again = replace(again, doubts=(*again.doubts, *others), notes=(*again.notes, *repeated))
    if generator is None:
        core = tuple(d for d in said.doubts if d.endswith(OF_ITS_CORE))
        again = replace(again, doubts=tuple(d for d in said.doubts if d in (*again.doubts, *core)))
    for place, one, two in differing(to_plain(said), to_plain(again)):
        yield error("Y218", step, f"{place} is {one}, the requests come to {two}")
    yield from _gate(view, stored, bench)


def _gate(view: EvidenceView, stored: StoredStep, bench: BenchRun) -> Iterator[Finding]:
    """The gate judged again from its looks; every doubt of the run has its source, and none is left out."""
    step = stored.step
    gate = kept(view, stored, "gate.json", Gate)
    if gate is None:
        yield error("Y220", step, "the gate's looks are not kept")
        return
    target = from_plain(Target, view.manifest.target, where="the manifest's target")
    wanted = judge_gate(target, gate.before, gate.idle, gate.load, gate.after)
    reasons = set(wanted.reasons)
    if gate.load is None:
        yield note(step, "the looks around the load were not kept by the version that ran: as recorded")
        reasons.discard("nobody looked around the load")
        most = float(target.precheck.foreign_cpu_percent.value or 0) if target.precheck is not None else 0.0
        told = any("under load, above" in r for r in gate.reasons)
        if gate.foreign_cpu_load is not None and (gate.foreign_cpu_load > most) is not told:
            yield error(
                "Y220", step, f"others used {gate.foreign_cpu_load:.0f} % under load: its reasons say otherwise"
            )
        reasons |= {r for r in gate.reasons if "under load" in r}
    elif gate.foreign_cpu_load != wanted.foreign_cpu_load:
        yield error(
            "Y220", step, f"others used {gate.foreign_cpu_load} % under load, its looks say {wanted.foreign_cpu_load}"
        )
    if set(gate.reasons) != reasons or gate.passed != (not gate.reasons):
        missing = sorted(reasons ^ set(gate.reasons))
        yield error("Y220", step, f"the gate does not say what its looks do: {'; '.join(missing)[:200]}")
    metrics = bench.metrics
    due = [*gate.reasons, *metrics.doubts, *([f"partial: {metrics.partial}"] if metrics.partial else [])]
    due += [PROFILER] if bench.setup.is_profiled else []
    if list(bench.doubts) != due:
        changed = sorted(set(bench.doubts) ^ set(due))
        yield error("Y220", step, f"its doubts are not those of gate and figures: {'; '.join(changed)[:200]}")


def _outside(view: EvidenceView, stored: StoredStep, bench: BenchRun, workload: Workload) -> Iterator[Finding]:
    """The tool's own files, read again; how the tool came to them is its word."""
    step, tool = stored.step, str(bench.setup.get("tool"))
    with tempfile.TemporaryDirectory(prefix="seatrial-verify-") as name:
        folder = Path(name)
        try:
            for ref in stored.artifacts:
                place = PurePosixPath(ref.name)
                if place.is_absolute() or ".." in place.parts or ref.name.endswith(".log"):
                    continue
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).write_bytes(_plain(view, ref.file).read_bytes())
            found = read_results(folder, tool)
        except (OSError, ValueError, UsageError) as exc:
            # Names that no folder can hold, or a tool that nobody knows.
            yield error("Y218", step, f"the files of {tool!r} cannot be read again: {exc}")
            return
    if len(found) != 1:
        yield error("Y218", step, f"{len(found)} results of {tool} are kept where one was read")
        return
    for figure, one, two in differing(to_plain(bench.metrics), to_plain(completed(found[0].metrics, tool, workload))):
        yield error("Y218", step, f"{figure} is {one}, the file of {tool} says {two}")
    yield note(step, f"the requests are {tool}'s: its files were read again, its figures are its word")
