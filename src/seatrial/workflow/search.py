"""Search: every candidate of a space measured in turn, each on a fresh service.

Candidates go through `run_bench` one by one, so each is a run of its own; which are done is read from the search's own
ledger, so a search that was stopped goes on where it was. A candidate that does not start is kept with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from seatrial.core.errors import EngineError, UsageError
from seatrial.core.record import Record, from_plain, to_plain
from seatrial.core.verdict import Outcome
from seatrial.evidence import Run, Workspace
from seatrial.measure.compare import BenchRun
from seatrial.measure.load.workload import Workload
from seatrial.measure.search import FRAMEWORKS, Entry, Space, candidates, rank, words
from seatrial.measure.search.rank import outcome_of
from seatrial.workflow.bench import BenchJob, Side, bench_runs, run_bench
from seatrial.workflow.ledger import open_ledger

TRIED = "tried"


class Tried(Record):
    """One candidate: the run it is in, or why it failed."""

    name: str
    run: str
    failed: str = ""


class Searched(Record):
    """The ranking, with failed candidates at its end; `skipped` were measured by an earlier call."""

    run_id: str
    entries: tuple[Entry, ...]
    skipped: int
    outcome: Outcome


def search(
    space: Space,
    workload: Workload,
    *,
    checkpoint: Path,
    target: str,
    workspace: Workspace,
    overrides: Path | None,
    program: str = "",
    resume: str | None = None,
    argv: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Searched:
    """Measure what is not yet measured, and rank. `program` is that of SGLang or xLLM; vLLM is the target's."""
    if (space.framework != "vllm") != bool(program):
        raise UsageError(
            f"the space is for {space.framework}" + ("" if program else ", which no target starts"),
            mend=f"Leave out --program: the target says {space.framework}'s."
            if program
            else "Name its program with --program.",
        )
    framework = FRAMEWORKS.get(space.framework)
    if not checkpoint.is_dir():
        raise UsageError(f"the checkpoint {checkpoint} is not a folder", mend="Name a checkpoint's folder.")
    job = {"space": to_plain(space), "workload": to_plain(workload), "checkpoint": str(checkpoint)}
    job |= {"program": program} if program else {}
    with open_ledger(
        "search",
        job,
        checkpoint=checkpoint,
        service="",
        target=target,
        workspace=workspace,
        overrides=overrides,
        resume=resume,
        argv=argv,
    ) as run:
        done = _tried(run)
        found = candidates(space)
        skipped = len(done)
        for number, candidate in enumerate(found, 1):
            if candidate.name in done:
                continue
            say(f"candidate {number} of {len(found)}: {candidate.name}")
            side = Side(label=candidate.name, args=words(framework, candidate), env=candidate.env)
            bench = from_plain(
                BenchJob,
                {
                    "kind": "bench",
                    "sides": [to_plain(side)],
                    "workload": to_plain(workload),
                    "target": target,
                    "checkpoint": str(checkpoint),
                    "framework": space.framework,
                    "program": program,
                },
                where="search",
            )
            try:
                ended = run_bench(bench, workspace=workspace, overrides=overrides, argv=argv, say=say)
            except EngineError as exc:
                tried = Tried(name=candidate.name, run="", failed=exc.one_line())
            else:
                broken = ended.runs[-1].metrics.partial if ended.runs else ended.reason or "not measured"
                tried = Tried(name=candidate.name, run=ended.run_id, failed=broken)
            run.append(TRIED, tried)
            done[candidate.name] = tried
        measured = [(t.name, _run_of(t, workspace), t.failed) for t in done.values()]
        entries = tuple(rank(measured))
        outcome = outcome_of(entries)
        told = {"verdict": outcome.verdict, "signed_off": False, "reason": outcome.reason, "kind": "search"}
        run.append("finished", told)
        return Searched(run_id=run.run_id, entries=entries, skipped=skipped, outcome=outcome)


def _tried(run: Run) -> dict[str, Tried]:
    found = {}
    for entry in run.log.entries:
        if entry.kind == TRIED:
            tried = from_plain(Tried, to_plain(entry.body), where=f"{run.run_id} record {entry.seq}")
            found[tried.name] = tried
    return found


def _run_of(tried: Tried, workspace: Workspace) -> BenchRun | None:
    if not tried.run:
        return None
    runs = bench_runs(Run.read(workspace.run_folder(tried.run)))
    return runs[-1] if runs else None
