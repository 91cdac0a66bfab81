"""The optimisation loop as a ledger: baseline, evidence, one change, accuracy, performance, lesson.

More than 250 lines: two thirds are the options of its ten small commands.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import FiniteRange, json_option, out, print_json

if TYPE_CHECKING:
    from seatrial.measure.accuracy.records import Level
    from seatrial.measure.loop import Event, State

workspace_option = click.option(
    "--workspace", default=".", type=click.Path(path_type=Path), show_default=True, help="The folder of .seatrial."
)
loop_option = click.option("--loop", "name", default="last", show_default=True, help="The loop's run.")


@click.group()
def command() -> None:
    """Keep an optimisation honest: what comes before what, on which evidence, and when to stop."""


@command.command()
@click.option("--goal", required=True, help="What is to be reached, in words.")
@click.option("--model", required=True, help="The checkpoint's folder or the model's name.")
@click.option("--framework", default="vllm", show_default=True)
@click.option("--target", default="cpu", show_default=True, help="The target it runs on.")
@click.option("--judged-by", default="request_throughput", show_default=True, help="The figure judged.")
@click.option("--reference", type=FiniteRange(min=0, min_open=True), help="The figure to reach, in its unit.")
@click.option("--reference-source", default="", help="Where the reference is from.")
@click.option(
    "--least-accuracy",
    type=click.Choice(["L1", "L2", "L3", "L4", "L5"]),
    default="L1",
    show_default=True,
    help="The level that the accuracy check of a change must have.",
)
@click.option("--sla", default="", help="The service level as the workload states it, such as 'ttft p99 <= 500 ms'.")
@workspace_option
@json_option
def start(
    goal: str,
    model: str,
    framework: str,
    target: str,
    judged_by: str,
    reference: float | None,
    reference_source: str,
    least_accuracy: Level,
    sla: str,
    workspace: Path,
    as_json: bool,
) -> None:
    """Begin a loop with its goal."""
    from seatrial.core.errors import UsageError
    from seatrial.evidence import open_workspace
    from seatrial.measure.compare.verdict import FIGURES
    from seatrial.measure.load.sla import written
    from seatrial.measure.loop.events import Goal
    from seatrial.targets import find_overrides
    from seatrial.workflow.loop import loop_state, start_loop

    if judged_by not in FIGURES:
        raise UsageError(f"unknown figure {judged_by!r}", mend=f"Known: {', '.join(FIGURES)}.")
    if reference is not None and not reference_source.strip():
        raise UsageError("a reference needs its source", mend="Say where it is from with --reference-source.")
    if not goal.strip():
        raise UsageError("a loop needs its goal", mend="Say in words what is to be reached: --goal.")
    level = written(sla)
    place = open_workspace(workspace, write=True)
    event = Goal(
        goal=goal,
        model=model,
        framework=framework,
        judged_by=judged_by,
        reference=reference,
        reference_source=reference_source,
        sla=level,
        least_accuracy=least_accuracy,
    )
    name = start_loop(place, event, target, find_overrides(Path.cwd()), tuple(sys.argv[1:]))
    _show(name, loop_state(place, name), as_json)


@command.command()
@loop_option
@workspace_option
@json_option
def status(name: str, workspace: Path, as_json: bool) -> None:
    """Show the ledger: rounds, gap, and each stop rule with its reason."""
    from seatrial.evidence import open_workspace
    from seatrial.workflow.loop import loop_folder, loop_state

    place = open_workspace(workspace, write=False)
    _show(loop_folder(place, name).name, loop_state(place, name), as_json)


@command.command("next")
@loop_option
@workspace_option
@json_option
def next_command(name: str, workspace: Path, as_json: bool) -> None:
    """Say what is due."""
    from seatrial.evidence import open_workspace
    from seatrial.measure.loop import next_step
    from seatrial.workflow.loop import loop_state

    state = loop_state(open_workspace(workspace, write=False), name)
    if as_json:
        print_json({"phase": state.phase, "next": next_step(state)})
        return
    out().print(next_step(state), markup=False)


@command.group()
def record() -> None:
    """Write into the ledger; what is not due is refused."""


@record.command()
@click.argument("run")
@loop_option
@workspace_option
@json_option
def baseline(run: str, name: str, workspace: Path, as_json: bool) -> None:
    """The fair baseline: RUN or RUN:LABEL of `seatrial bench`."""
    from seatrial.evidence import open_workspace
    from seatrial.workflow.loop import baseline_from, loop_state

    place = open_workspace(workspace, write=True)
    judged_by = loop_state(place, name).goal.judged_by
    _add(baseline_from(place, run, judged_by), name, workspace, as_json)


@record.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--hypothesis", required=True, help="What it shows.")
@loop_option
@workspace_option
@json_option
def evidence(runs: tuple[str, ...], hypothesis: str, name: str, workspace: Path, as_json: bool) -> None:
    """What explains the gap: RUN or RUN/step of this workspace."""
    from seatrial.measure.loop.events import Evidence

    _add(Evidence(evidence=runs, hypothesis=hypothesis), name, workspace, as_json)


@record.command()
@click.option("--repo", type=click.Path(path_type=Path), help="The checkout that holds a change of code.")
@click.option("--base", default="", help="The commit before the change; default: HEAD, so what is not committed.")
@click.option(
    "--change", default="", help="The setting that changes: 'FLAG: OLD -> NEW' or 'VARIABLE: unset -> VALUE'."
)
@click.option("--hypothesis", required=True, help="Why it should help.")
@click.option("--expected", required=True, help="By how much, in which figure.")
@click.option("--risks", required=True, help="Accuracy, memory, graph, communication, compatibility.")
@loop_option
@workspace_option
@json_option
def patch(
    repo: Path | None,
    base: str,
    change: str,
    hypothesis: str,
    expected: str,
    risks: str,
    name: str,
    workspace: Path,
    as_json: bool,
) -> None:
    """One reviewable change: the difference of a checkout, which is kept, or a setting.

    Code is taken as `seatrial diff` shows it, untracked files included; --change with --repo names the setting that
    turns the code on. What is measured later must be that change and no other.
    """
    from seatrial.workflow.loop import recorded_change

    found = recorded_change(repo, base, change, hypothesis, expected, risks)
    _add(found.patch, name, workspace, as_json, found.diff)


@record.command()
@click.argument("run")
@click.option("--against", default="", metavar="RUN", help="The accuracy run from before the change (L3 and above).")
@click.option(
    "--repo", type=click.Path(path_type=Path), help="The checkout of the change, if it is not where it was recorded."
)
@loop_option
@workspace_option
@json_option
def accuracy(run: str, against: str, repo: Path | None, name: str, workspace: Path, as_json: bool) -> None:
    """The accuracy check of the change: RUN of `seatrial accuracy run`, or of `bench ab` with its smokes."""
    from seatrial.evidence import open_workspace
    from seatrial.workflow.loop import accuracy_from, loop_state, present_diff

    place = open_workspace(workspace, write=True)
    found = accuracy_from(place, run, present_diff(loop_state(place, name), repo), against)
    _add(found, name, workspace, as_json)


@record.command()
@click.argument("run")
@click.option(
    "--repo", type=click.Path(path_type=Path), help="The checkout of the change, if it is not where it was recorded."
)
@loop_option
@workspace_option
@json_option
def performance(run: str, repo: Path | None, name: str, workspace: Path, as_json: bool) -> None:
    """The comparison with the baseline: a RUN of `seatrial bench ab`."""
    from seatrial.evidence import open_workspace
    from seatrial.workflow.loop import loop_state, performance_from, present_diff

    place = open_workspace(workspace, write=True)
    state = loop_state(place, name)
    found = performance_from(place, run, state.goal.judged_by, present_diff(state, repo))
    _add(found, name, workspace, as_json)


@record.command()
@click.argument("text")
@click.option("--kept/--rolled-back", required=True, help="Does the change stay?")
@click.option("--risks", default="", help="What remains.")
@click.option("--next-checks", default="", help="What to look at next.")
@loop_option
@workspace_option
@json_option
def lesson(text: str, kept: bool, risks: str, next_checks: str, name: str, workspace: Path, as_json: bool) -> None:
    """Close the round with what was learnt, also from a failure."""
    from seatrial.measure.loop.events import Lesson

    _add(Lesson(text=text, kept=kept, risks=risks, next_checks=next_checks), name, workspace, as_json)


@record.command()
@click.argument("limit")
@click.option("--evidence", "places", multiple=True, required=True, help="RUN or RUN/step that shows it.")
@loop_option
@workspace_option
@json_option
def limit(limit: str, places: tuple[str, ...], name: str, workspace: Path, as_json: bool) -> None:
    """A hardware limit, by name."""
    from seatrial.measure.loop.events import Limit

    _add(Limit(name=limit, evidence=places), name, workspace, as_json)


@record.command()
@click.argument("what")
@click.option("--current", type=FiniteRange(min=0, min_open=True), required=True)
@click.option("--theoretical", type=FiniteRange(min=0, min_open=True), required=True)
@click.option("--unit", required=True)
@click.option("--evidence", "places", multiple=True, required=True, help="RUN or RUN/step that shows it.")
@loop_option
@workspace_option
@json_option
def bottleneck(
    what: str,
    current: float,
    theoretical: float,
    unit: str,
    places: tuple[str, ...],
    name: str,
    workspace: Path,
    as_json: bool,
) -> None:
    """The dominant cost against its theoretical limit."""
    from seatrial.measure.loop.events import Bottleneck

    event = Bottleneck(name=what, current=current, theoretical=theoretical, unit=unit, evidence=places)
    _add(event, name, workspace, as_json)


@record.command()
@click.argument("needs")
@loop_option
@workspace_option
@json_option
def blocked(needs: str, name: str, workspace: Path, as_json: bool) -> None:
    """The next step needs a decision, hardware or data that is not here."""
    from seatrial.measure.loop.events import Blocked

    _add(Blocked(needs=needs), name, workspace, as_json)


@command.command()
@click.option("--rule", default="", help="The stop rule that holds; without one, the reason is a person's.")
@click.option("--reason", required=True)
@loop_option
@workspace_option
@json_option
def stop(rule: str, reason: str, name: str, workspace: Path, as_json: bool) -> None:
    """End the loop; a rule that does not hold is refused."""
    from seatrial.measure.loop.events import Stop

    _add(Stop(rule=rule, reason=reason), name, workspace, as_json)


def _add(event: Event, name: str, workspace: Path, as_json: bool, diff: bytes = b"") -> None:
    from seatrial.evidence import open_workspace
    from seatrial.workflow.loop import add_event, loop_folder

    place = open_workspace(workspace, write=True)
    _show(loop_folder(place, name).name, add_event(place, name, event, diff), as_json)


def _show(name: str, state: State, as_json: bool) -> None:
    from seatrial.core.quantity import measured
    from seatrial.measure.loop import next_step, stop_rules

    rules = stop_rules(state)
    if as_json:
        document = {"loop": name, "gap": state.gap, "best": state.best, "next": next_step(state), "rules": rules}
        print_json({**document, "state": state})
        return
    console = out()
    console.print(f"loop {name}: {state.goal.goal} ({state.goal.model}), due: {state.phase}", markup=False)
    best = "unknown" if state.best is None else measured(state.best)
    gap = "unknown" if state.gap is None else f"{state.gap:+.1%}"
    console.print(f"  {state.goal.judged_by}: best {best}, gap to the reference {gap}", markup=False)
    for turn in state.rounds:
        told = turn.performance.reason if turn.performance else "not measured"
        kept = "" if turn.lesson is None else (" kept" if turn.lesson.kept else " rolled back")
        console.print(f"  round {turn.number}{kept}: {turn.patch.change or turn.patch.diff[:12]}: {told}", markup=False)
    for rule in rules:
        console.print(f"  {'STOP' if rule.holds else '  - '} {rule.rule}: {rule.why}", markup=False)
    console.print(f"next: {next_step(state)}", markup=False)
