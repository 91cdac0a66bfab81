"""Replay of a run that is no bench: the same `seatrial` command again, in the same workspace, held against the old one.

In: a kept run of `run`, `accuracy run`, `bench search`, `bench highest` or `profile read`. Out: `Redone`, with each
step then and now. Refuses (UsageError): a loop (its ledger is a person's decisions), a command that held a secret or
that went on with another run. The command is given where we stand: relative paths in it are those of its first time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

from seatrial.core.command import Command
from seatrial.core.errors import UsageError
from seatrial.core.record import Record
from seatrial.core.secrets import REDACTED
from seatrial.core.verdict import Verdict
from seatrial.evidence import Run, Workspace
from seatrial.workflow.highest import STEP as HIGHEST
from seatrial.workflow.search import TRIED


class Turn(Record):
    """One step then and now; `differs` says how, "" for the same."""

    step: str
    then: str
    now: str
    differs: str = ""


class Redone(Record):
    """The new run (`run_id` "" where none was begun), its exit code, and both side by side."""

    command: Command
    run_id: str
    exit_code: int
    turns: tuple[Turn, ...]
    agreement: Literal["agrees", "differs", "unknown"]
    reason: str


def kind_of(run: Run) -> str:
    """`bench`, `highest`, …; a run of the main job has none of its own."""
    return str(run.manifest.arguments.get("kind") or "run")


def command_of(run: Run) -> Command:
    """The command a run was begun with. Raises UsageError where it cannot be given again."""
    argv, kind = run.manifest.arguments_given, kind_of(run)
    if kind == "loop":
        raise UsageError(
            f"run {run.run_id} is a loop's ledger: what a person decided is not done again",
            mend="Replay the runs it rests on; `seatrial loop status` names them.",
        )
    if not argv:
        raise UsageError(f"the manifest of {run.run_id} names no command", mend="It was not begun by the command line.")
    if any(REDACTED in word for word in argv):
        raise UsageError(f"run {run.run_id} was given a secret, which is not kept", mend="Give its command again.")
    if any(word.split("=")[0] == "--resume" for word in argv):
        raise UsageError(
            f"the command of {run.run_id} went on with another run", mend="Replay that one: it began the work."
        )
    return Command(purpose=f"seatrial {kind} again", argv=(sys.executable, "-m", "seatrial", *argv), env={})


def redo(workspace: Workspace, run: Run, say: Callable[[str], None]) -> Redone:
    """Give it again, and compare. What it prints goes to our standard error."""
    command = command_of(run)
    known = set(workspace.run_folders())
    say(f"again: {command.shell()}")
    done = subprocess.run(command.argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=dict(os.environ), check=False)
    # A search's trials are runs too; the newest of the same kind is the one that holds them together.
    found = [Run.read(f) for f in workspace.run_folders() if f not in known]
    new = next((r for r in reversed(found) if kind_of(r) == kind_of(run)), None)
    if new is None:
        why = f"the command began no run of its kind here (exit code {done.returncode})"
        return Redone(command=command, run_id="", exit_code=done.returncode, turns=(), agreement="unknown", reason=why)
    turns = (*_steps(run, new), *_tried(run, new))
    odd = [t for t in turns if t.differs]
    if not turns:
        agreement, reason = "unknown", f"run {run.run_id} holds no step to compare with"
    elif odd:
        agreement, reason = "differs", f"{len(odd)} of {len(turns)} differ: {odd[0].step}: {odd[0].differs}"
    else:
        agreement, reason = "agrees", f"all {len(turns)} end as they did"
    return Redone(
        command=command,
        run_id=new.run_id,
        exit_code=done.returncode,
        turns=turns,
        agreement=agreement,  # type: ignore[arg-type]
        reason=reason,
    )


def _steps(then: Run, now: Run) -> list[Turn]:
    turns = []
    later = now.steps()
    for name, old in then.sound().steps().items():
        new = later.get(name)
        if new is None:
            turns.append(Turn(step=name, then=_told(old), now="", differs="it was not done again"))
            continue
        differs = ""
        if old.outcome.verdict is not new.outcome.verdict:
            differs = f"{old.outcome.verdict.value} then, {new.outcome.verdict.value} now"
        elif name == HIGHEST:
            differs = _apart(then.facts_of(old), now.facts_of(new))
        turns.append(Turn(step=name, then=_told(old), now=_told(new), differs=differs))
    return turns


def _apart(then: Any, now: Any) -> str:
    """Two answers of a bisection: do the spans between what held and what broke meet?"""
    spans = []
    for facts in (then, now):
        found = facts.get("highest", {}) if isinstance(facts, dict) else {}
        holds, breaks = found.get("holds_at"), found.get("breaks_at")
        spans.append((holds if holds is not None else 0.0, breaks if breaks is not None else float("inf")))
    (low, high), (low_now, high_now) = spans
    if low <= high_now and low_now <= high:
        return ""
    return f"it holds at {low:g} and breaks at {high:g} then, {low_now:g} and {high_now:g} now"


def _tried(then: Run, now: Run) -> list[Turn]:
    """The candidates of a search: measured or failed, then and now."""
    sides = []
    for run in (then, now):
        bodies = [e.body for e in run.log.entries if e.kind == TRIED]
        sides.append({str(b["name"]): str(b.get("failed") or "measured") for b in bodies if isinstance(b, dict)})
    turns = []
    for name, old in sides[0].items():
        new = sides[1].get(name, "")
        same = bool(new) and (old == "measured") == (new == "measured")
        turns.append(
            Turn(step=name, then=old, now=new, differs="" if same else f"{old} then, {new or 'not tried'} now")
        )
    return turns


def _told(stored: Any) -> str:
    verdict: Verdict = stored.outcome.verdict
    return f"{verdict.value} {stored.summary}".strip()
