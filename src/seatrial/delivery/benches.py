"""Benches a delivery may quote: recorded runs of `seatrial bench` on this checkpoint, this engine and this platform.

In: names of runs. Out: `Benched`. A bench is derived again from its requests first (`verify`): one that its own
requests contradict is no result (FileFormatError). What is partial, profiled or of something else is refused with its
reason; a run of level debug is quoted as what it is, with its doubts.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import Record, from_plain
from seatrial.core.verdict import Verdict
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.sources import other_than
from seatrial.evidence import Run, Workspace, verify_run
from seatrial.evidence.records import HEAD, sha256
from seatrial.measure.compare import BenchRun, Judged
from seatrial.measure.compare.verdict import figure
from seatrial.measure.load.workload import Workload

# What the tables show, in their order.
SHOWN = (
    "request_throughput", "output_throughput", "ttft_ms.p50", "ttft_ms.p99", "tpot_ms.p50", "tpot_ms.p99",
)  # fmt: skip


class SideSeen(Record):
    """One side over its repeats. `figures`: the mean of each, None where a repeat lacks it (`unknown` says why).

    `setting`: what its command has beyond the target's. `doubts`: why no percentage may be made of it.
    """

    label: str
    setting: str
    runs: int
    figures: dict[str, float | None]
    unknown: dict[str, str]
    level: str
    doubts: tuple[str, ...]
    steps: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why figures are unknown, each once."""
        return tuple(dict.fromkeys(self.unknown.values()))


class BenchSeen(Record):
    """One quoted bench: its workload, its sides, the comparison if it has two, and each step's facts by path."""

    run_id: str
    head_sha256: str
    folder: str
    workload: Workload
    sides: tuple[SideSeen, ...]
    judged: Judged | None
    paths: dict[str, str]


class Benched(Record):
    """`quoted` may be delivered; `refused` says why others may not."""

    quoted: tuple[BenchSeen, ...] = ()
    refused: tuple[str, ...] = ()


def read_benches(names: Sequence[str], workspace: Workspace, view: EvidenceView) -> Benched:
    """Raises UsageError for a run that is no bench, FileFormatError for one that contradicts itself."""
    quoted: list[BenchSeen] = []
    refused: list[str] = []
    for name in dict.fromkeys(names):
        run = Run.read(workspace.run_folder(name))
        there = EvidenceView(run)
        if run.manifest.arguments.get("kind") != "bench":
            raise UsageError(f"run {run.run_id} is no bench", mend="Name a run of `seatrial bench`.")
        contradicted(there)
        why = other_than(there, view, "bench")
        seen = seen_of(there)
        why = why or _unfit(there, view, seen)
        if why:
            refused.append(why)
        elif seen is not None and run.run_id not in {s.run_id for s in quoted}:
            quoted.append(seen)
    return Benched(quoted=tuple(quoted), refused=tuple(refused))


def contradicted(there: EvidenceView) -> None:
    """Raises FileFormatError if the bench is not whole or is not what its requests say."""
    # Late: verifying reads deliveries, and a delivery reads benches.
    from seatrial.delivery.verify.rederive import rederive

    whole = verify_run(there.run.folder)
    if whole.verdict is not Verdict.PASS:
        what = whole.findings[0].one_line() if whole.findings else "nothing is recorded"
        raise FileFormatError(f"the evidence of {there.run_id} is not whole: {what}", mend="See seatrial runs verify.")
    wrong = [f for f in rederive(there).findings if f.severity.value == "error"]
    if wrong:
        raise FileFormatError(
            f"the bench {there.run_id} contradicts itself: {wrong[0].one_line()}", mend="See seatrial verify."
        )


def seen_of(there: EvidenceView) -> BenchSeen | None:
    """What a bench shows; None if nothing was measured. Raises FileFormatError for facts that are none."""
    listed = there.manifest.arguments.get("sides")
    sides = [_side(there, s) for s in listed if isinstance(s, dict)] if isinstance(listed, list) else []
    if not sides or any(s is None for s in sides):
        return None
    judged = there.facts("verdict")
    return BenchSeen(
        run_id=there.run_id,
        head_sha256=sha256((there.run.folder / HEAD).read_bytes()),
        folder=str(there.run.folder),
        workload=from_plain(Workload, there.manifest.arguments.get("workload"), where="the manifest's workload"),
        sides=tuple(s for s in sides if s is not None),
        judged=from_plain(Judged, judged, where=f"facts of {there.run_id}") if judged else None,
        paths={step: there.link(step) for step in there.gathered.steps},
    )


def _side(there: EvidenceView, plain: dict[str, object]) -> SideSeen | None:
    label = str(plain.get("label"))
    steps = [s for s in there.gathered.steps if s.startswith(f"bench-{label}-") and s.rpartition("-")[2].isdigit()]
    runs = [from_plain(BenchRun, there.facts(s), where=f"facts of {s}") for s in steps]
    if not runs:
        return None
    figures: dict[str, float | None] = {}
    unknown: dict[str, str] = {}
    for name in SHOWN:
        values = [figure(r.metrics, name) for r in runs]
        known = [v for v in values if v is not None]
        figures[name] = fmean(known) if len(known) == len(values) else None
        if figures[name] is None:
            lacking = next(r.metrics for r, v in zip(runs, values, strict=True) if v is None)
            unknown[name] = lacking.unknown.get(name.partition(".")[0], f"{lacking.tool} does not say it")
    return SideSeen(
        label=label,
        setting=_setting(plain),
        runs=len(runs),
        figures=figures,
        unknown=unknown,
        level="formal" if all(r.level == "formal" for r in runs) else "debug",
        doubts=tuple(dict.fromkeys(d for r in runs for d in r.doubts)),
        steps=tuple(steps),
    )


def _setting(side: dict[str, object]) -> str:
    """What the side's command has beyond the target's, in words."""
    args, drop, env = side.get("args"), side.get("drop"), side.get("env")
    words = [str(w) for w in args] if isinstance(args, list) else []
    words += [f"without --{d}" for d in drop] if isinstance(drop, list) else []
    words += [f"{k}={v}" for k, v in env.items()] if isinstance(env, dict) else []
    return " ".join(words)


def _unfit(there: EvidenceView, view: EvidenceView, seen: BenchSeen | None) -> str:
    """Why a bench may not be quoted, beyond being of something else."""
    if seen is None:
        return f"the bench {there.run_id} measured nothing of at least one side"
    wanted = view.manifest.inputs.get("checkpoint", "")
    for side in seen.sides:
        runs = [from_plain(BenchRun, there.facts(s), where=s) for s in side.steps]
        partial = next((r.metrics.partial for r in runs if not r.metrics.is_complete), "")
        if partial:
            return f"the bench {there.run_id} is partial: {partial}"
        if any(r.setup.is_profiled for r in runs):
            return f"in the bench {there.run_id} a profiler was attached: no measure of performance"
        models = {r.setup.get("model") for r in runs}
        if models != {wanted}:
            known = "another checkpoint" if models != {None} else "a checkpoint that is not known"
            return f"the bench {there.run_id} is of {known}"
    return ""
