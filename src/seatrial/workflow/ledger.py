"""A ledger of many benches (a search, the highest load): one run whose records say which bench answered what.

Each trial is a bench run of its own; the ledger names it, so that a later call goes on where an earlier one was ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from seatrial.core.errors import SeatrialError, Stopped, UsageError
from seatrial.core.record import to_json, to_plain
from seatrial.core.secrets import redact_plain
from seatrial.evidence import Run, Workspace
from seatrial.evidence.manifest import redact_target
from seatrial.measure.load.facts import checkpoint_facts
from seatrial.targets import load_target
from seatrial.workflow.begin import manifest_for


@contextlib.contextmanager
def open_ledger(
    kind: str,
    arguments: Mapping[str, object],
    *,
    checkpoint: Path | None,
    service: str,
    target: str,
    workspace: Workspace,
    overrides: Path | None,
    resume: str | None,
    argv: tuple[str, ...],
) -> Iterator[Run]:
    """A new ledger, or that of `resume`; a stop or an error on the way is its last record.

    Raises UsageError for a ledger of other arguments, or of a checkpoint or a target that has changed since.
    """
    told = {"kind": kind, **arguments}
    facts = checkpoint_facts(checkpoint) if checkpoint is not None and checkpoint.is_dir() else {}
    inputs = {k: str(v) for k, v in facts.items() if k in ("model", "tokenizer") and v is not None}
    if resume is not None:
        located = load_target(target, overrides)
        run = Run.resume(workspace.run_folder(resume))
        other = to_json(run.manifest.arguments) != to_json(redact_plain(told))
        changed = any(run.manifest.inputs[k] != v for k, v in inputs.items() if k in run.manifest.inputs)
        moved = _decisive(run.manifest.target) != _decisive(redact_target(to_plain(located.target)))
        if other or changed or moved:
            run.close()
            what = "was begun on another target, or this one has changed since"
            if other or changed:
                what = f"is another {kind}" if other else "was begun with another checkpoint in this folder"
            raise UsageError(f"run {run.run_id} {what}", mend="Resume it with what it was begun with, or begin anew.")
    else:
        located = load_target(target, overrides)
        name = workspace.new_run_id(kind)
        manifest = manifest_for(
            name,
            arguments=dict(told),
            checkpoint=str(checkpoint.resolve()) if checkpoint is not None else service,
            located=located,
            python="",
            versions={},
            inputs=inputs,
            argv=argv,
        )
        run = Run.create(workspace.runs_folder / name, manifest)
    try:
        yield run
    except (Stopped, KeyboardInterrupt) as exc:
        run.append("interrupted", {"reason": str(exc) or "interrupted"})
        raise
    except SeatrialError as exc:
        run.append("error", {"reason": exc.one_line()})
        raise
    finally:
        run.close()


def _decisive(target: Mapping[str, object]) -> bytes:
    """A target without what decides no figure: its time limits, which one may raise to go on."""
    return to_json({key: value for key, value in target.items() if key not in ("limits", "description")})
