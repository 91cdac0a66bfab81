"""Do a kept run again from its manifest, say what cannot be the same, and compare."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from seatrial.cli.common import err, json_option, leave, out, print_json
from seatrial.core.verdict import Verdict


@click.command()
@click.argument("run", default="last")
@click.option("--workspace", default=".", type=click.Path(path_type=Path), show_default=True)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be done and what differs; run nothing.")
@json_option
def command(run: str, workspace: Path, only_plan: bool, as_json: bool) -> None:
    """Replay RUN: its commands, what cannot be reproduced here, and the comparison of then and now."""
    from seatrial.core.quantity import measured
    from seatrial.evidence import open_workspace
    from seatrial.targets import find_overrides
    from seatrial.workflow.replay import plan_replay, replay

    overrides = find_overrides(Path.cwd())
    place = open_workspace(workspace, write=True)
    plan = plan_replay(place, run, overrides)
    console = out()
    if not as_json:
        for command_ in plan.commands:
            console.print(command_.shell(), markup=False)
        for drift in plan.drifts:
            weight = "differs" if drift.grave else "noted"
            console.print(f"  {weight}: {drift.what}: then {drift.then}, now {drift.now}", markup=False)
        if not plan.drifts:
            console.print("  nothing differs that the manifest knows of", markup=False)
    if only_plan:
        if as_json:
            print_json(plan)
        leave(Verdict.INCONCLUSIVE if any(d.grave for d in plan.drifts) else Verdict.PASS)
    done = replay(place, run, overrides, argv=tuple(sys.argv[1:]), say=lambda text: err().print(text, markup=False))
    verdict = {"agrees": Verdict.PASS, "differs": Verdict.FAIL}.get(done.agreement, Verdict.INCONCLUSIVE)
    if as_json:
        print_json(done)
        leave(verdict)
    console.print(f"{done.agreement}: {done.reason}", markup=False)
    for label, judged in done.sides.items():
        found = judged.figures.get(judged.judged_by)
        if found is not None:
            told = f"{measured(found.mean_a)} then, {measured(found.mean_b)} now, {found.change:+.1%}"
            console.print(f"  {label}: {judged.judged_by} {told}", markup=False)
    for turn in done.redone.turns if done.redone is not None else ():
        console.print(f"  {turn.step}: then {turn.then}; now {turn.now or 'nothing'}", markup=False)
    kept = done.ended.folder if done.ended is not None else done.redone.run_id if done.redone is not None else ""
    console.print(f"kept: {kept}", markup=False)
    leave(verdict)
