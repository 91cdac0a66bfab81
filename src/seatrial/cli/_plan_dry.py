"""`--dry`: the weights of every pipeline stage from a dry run's account, exact for any model the engine builds.

In: the facts of a dry run (its facts file, or the output of `seatrial dry --json`), or the id of a run that has one.
Refuses another layout, another architecture, and an account that lacks a stage, with the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from seatrial.core.errors import FileFormatError, UsageError
from seatrial.core.record import from_plain
from seatrial.dryrun.account import DryAccount
from seatrial.estimate import Layout, Model
from seatrial.estimate.weights import StageWeights, WeightBytes

# Facts of 100,000 tensors are some 30 MB.
MOST_BYTES = 300 << 20


def dry_weights(named: str, model: Model, layout: Layout) -> WeightBytes:
    """The largest rank of every stage; raises UsageError or FileFormatError."""
    account = _account(named)
    asked = (layout.tp, layout.pp, layout.ep)
    if (account.tp, account.pp, account.ep) != asked:
        raise UsageError(
            f"--dry {named}: made with TP {account.tp}, PP {account.pp}, EP {_on(account.ep)}, the plan is for "
            f"TP {layout.tp}, PP {layout.pp}, EP {_on(layout.ep)}",
            mend="Repeat `seatrial dry` with the plan's sizes.",
        )
    if layout.ep and layout.dp > 1:
        raise UsageError(
            f"--dry {named}: with expert parallelism over {layout.dp} replicas the ranks hold fewer experts than a dry "
            "run of one replica builds",
            mend="Leave --dry out, or plan with --dp 1.",
        )
    built, own = account.config.architecture if account.config else "", model.card.architecture.architectures
    if built and own and built not in own:
        raise UsageError(
            f"--dry {named}: is of {built}, the checkpoint is {', '.join(own)}", mend="Name its own dry run."
        )
    return WeightBytes(stages=tuple(_stages(account, named, model, layout)), notes=(_note(account),))


def _stages(account: DryAccount, named: str, model: Model, layout: Layout) -> list[StageWeights]:
    made = []
    layers = layout.stage_layers(model.layers())
    for stage in range(layout.pp):
        here = [r for r in account.weights if r.rank // layout.tp == stage]
        known = [r.bytes for r in here if r.bytes is not None]
        if not known or len(known) < len(here):
            why = "a dtype of unknown size" if here else f"it has no rank of stage {stage}"
            if not account.weights:
                why = "it has no bytes per rank (made by an older seatrial, or no rank could be built)"
            raise UsageError(f"--dry {named}: {why}", mend="Repeat `seatrial dry`, or leave --dry out.")
        made.append(StageWeights(stage=stage, layers=len(layers[stage]), parts={"all": max(known)}))
    return made


def _on(ep: bool) -> str:
    return "on" if ep else "off"


def _note(account: DryAccount) -> str:
    engine = f"vLLM {account.engine.vllm}" if account.engine else "the engine"
    built = len(account.weights)
    ranks = f"{built} of {account.tp * account.pp} ranks"
    return f"exact weights: the parameters that {engine} built for {ranks} in a dry run"


def _account(named: str) -> DryAccount:
    file = Path(named)
    if file.is_file():
        if file.stat().st_size > MOST_BYTES:
            raise FileFormatError(f"--dry {named}: over {MOST_BYTES >> 20} MiB, no facts of a dry run")
        try:
            data: Any = msgspec.json.decode(file.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise FileFormatError(f"--dry {named}: not JSON: {exc}") from exc
        if isinstance(data, dict) and isinstance(data.get("facts"), dict):
            data = data["facts"]
        return from_plain(DryAccount, data, where=named)
    return from_plain(DryAccount, _of_run(named), where=f"run {named}: facts of the dry run")


def _of_run(named: str) -> Any:
    from seatrial.evidence import Run, open_workspace
    from seatrial.report.gather import gather

    run = Run.read(open_workspace(Path.cwd(), write=False).run_folder(named))
    found = gather(run).steps.get("dry")
    if found is None or found.facts is None:
        why = found.problem if found is not None and found.problem else "has no dry run with facts"
        raise UsageError(f"--dry {named}: the run {why}", mend="Name a run that went through the dry run.")
    return found.facts
