"""Measure a service fairly: load, figures, comparison of two sides, search, reports.

More than 250 lines: a third of it is options, which a reader wants beside the command they belong to.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seatrial.cli._bench_report import kept_side, report_command, write_reports
from seatrial.cli._bench_search import (
    ca_option,
    framework_option,
    highest_command,
    job_of,
    key_option,
    program_option,
    search_command,
    workload_option,
    workspace_option,
)
from seatrial.cli.common import STYLES, FiniteRange, err, json_option, leave, out, print_json
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from seatrial.measure.compare import Judged
    from seatrial.workflow.bench import BenchEnded

under_test_option = click.option(
    "--under-test", "under_test", multiple=True, metavar="FIELD", help="A field that may differ (flag.max-num-seqs)."
)
judged_option = click.option("--judged-by", default="request_throughput", show_default=True, help="The figure judged.")
fact_option = click.option(
    "--fact", "facts", multiple=True, metavar="NAME=VALUE", help="Declare a fact of a service seatrial did not start."
)


@click.group()
def command() -> None:
    """Measure services so that the figures can be compared, and refuse to compare those that cannot."""


command.add_command(search_command)
command.add_command(highest_command)
command.add_command(report_command)


@command.command("run")
@workload_option
@click.option("--service", default="", help="URL of a service that runs already; then it is a debug run.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Start this checkpoint on --target.")
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--model", default="", help="The model's name at --service, if it serves several.")
@ca_option
@key_option
@framework_option
@program_option
@click.option("--label", default="A", show_default=True, help="What this side is called.")
@click.option("--runs", default=1, show_default=True, type=click.IntRange(min=1), help="Repeats.")
@click.option("--serve", type=click.Choice(["together", "restart"]), default="restart", show_default=True)
@click.option("--concurrency", type=click.IntRange(min=1), help="Closed loop at this concurrency instead.")
@click.option("--rate", type=FiniteRange(min=0, min_open=True), help="Open loop at this rate (req/s) instead.")
@click.option("--arg", "extra", multiple=True, help="A further argument for the server; repeatable, kept in order.")
@click.option("--env", "settings", multiple=True, metavar="NAME=VALUE", help="A variable for the server.")
@click.option("--tool", default="builtin", show_default=True, help="builtin, evalscope, vllm, guidellm or aiperf.")
@click.option("--tool-python", type=click.Path(path_type=Path), help="The interpreter that has the outside tool.")
@click.option("--smoke/--no-smoke", default=True, show_default=True, help="Look at a few answers first.")
@fact_option
@workspace_option
@json_option
def run_command(
    workload: Path,
    service: str,
    checkpoint: Path | None,
    target: str,
    model: str,
    ca: Path | None,
    key_env: str,
    framework: str,
    program: Path | None,
    label: str,
    runs: int,
    serve: str,
    concurrency: int | None,
    rate: float | None,
    extra: tuple[str, ...],
    settings: tuple[str, ...],
    tool: str,
    tool_python: Path | None,
    smoke: bool,
    facts: tuple[str, ...],
    workspace: Path,
    as_json: bool,
) -> None:
    """Measure one service with a workload and keep every request as evidence."""
    from seatrial.core.errors import UsageError
    from seatrial.measure.load.workload import read_workload, with_load
    from seatrial.workflow.bench import Side

    if bool(service) == bool(checkpoint) and not (service and (tool != "builtin")):
        raise UsageError("name what to measure", mend="Give either --service URL or --checkpoint FOLDER.")
    if concurrency is not None and rate is not None:
        raise UsageError("--concurrency and --rate exclude each other", mend="Give one of them.")
    known = with_load(read_workload(workload), concurrency=concurrency, rate=rate)
    side = Side(label=label, args=extra, env=_pairs(settings), service=service)
    job = {
        "workload": known,
        "sides": (side,),
        "target": target,
        "checkpoint": str(checkpoint or ""),
        "model": model,
        "ca": str(ca.absolute()) if ca is not None else "",
        "key_env": key_env,
        "framework": framework,
        "program": str(program or ""),
        "runs": runs,
        "serve": serve,
        "facts": facts,
        "tool": tool,
        "tool_python": str(tool_python or ""),
        "smoke": smoke,
    }
    _finish(_go(job, workspace), as_json)


@command.command("ab")
@workload_option
@click.option("--checkpoint", type=click.Path(path_type=Path), required=True, help="The checkpoint of both sides.")
@click.option("--target", default="cpu", show_default=True, help="The target to run on.")
@click.option("--a", "label_a", default="baseline", show_default=True, help="What side A is called.")
@click.option("--b", "label_b", default="change", show_default=True, help="What side B is called.")
@click.option("--a-arg", multiple=True, help="A further argument for side A's server; repeatable, kept in order.")
@click.option("--b-arg", multiple=True, help="The same for side B.")
@click.option("--a-env", multiple=True, metavar="NAME=VALUE", help="A variable for side A's server.")
@click.option("--b-env", multiple=True, metavar="NAME=VALUE", help="The same for side B.")
@click.option("--a-drop", multiple=True, help="An argument of the target that side A does without.")
@click.option("--b-drop", multiple=True, help="The same for side B.")
@framework_option
@program_option
@click.option("--runs", default=4, show_default=True, type=click.IntRange(min=1), help="Repeats a side, in turn.")
@click.option("--serve", type=click.Choice(["together", "restart"]), default="restart", show_default=True)
@under_test_option
@judged_option
@workspace_option
@json_option
def ab_command(
    workload: Path,
    checkpoint: Path,
    target: str,
    label_a: str,
    label_b: str,
    a_arg: tuple[str, ...],
    b_arg: tuple[str, ...],
    a_env: tuple[str, ...],
    b_env: tuple[str, ...],
    a_drop: tuple[str, ...],
    b_drop: tuple[str, ...],
    framework: str,
    program: Path | None,
    runs: int,
    serve: str,
    under_test: tuple[str, ...],
    judged_by: str,
    workspace: Path,
    as_json: bool,
) -> None:
    """Compare two configurations: A B A B, accuracy smoke first, fairness, statistics, verdict."""
    from seatrial.measure.load.workload import read_workload
    from seatrial.workflow.bench import Side

    sides = (
        Side(label=label_a, args=a_arg, env=_pairs(a_env), drop=a_drop),
        Side(label=label_b, args=b_arg, env=_pairs(b_env), drop=b_drop),
    )
    job = {
        "workload": read_workload(workload),
        "sides": sides,
        "target": target,
        "checkpoint": str(checkpoint),
        "framework": framework,
        "program": str(program or ""),
        "runs": runs,
        "serve": serve,
        "under_test": under_test,
        "judged_by": judged_by,
    }
    _finish(_go(job, workspace), as_json)


@command.command("compare")
@click.argument("run_a")
@click.argument("run_b")
@under_test_option
@judged_option
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Write reports (en, zh, SVG) into this folder.")
@click.option("--history", "historical", metavar="SOURCE", help="A is a historical baseline; say where it is from.")
@workspace_option
@json_option
def compare_command(
    run_a: str,
    run_b: str,
    under_test: tuple[str, ...],
    judged_by: str,
    folder: Path | None,
    historical: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Compare the kept runs RUN_A and RUN_B (or two sides of one: RUN:LABEL)."""
    from seatrial.core.errors import UsageError
    from seatrial.measure.compare import judge
    from seatrial.measure.compare.report import Loaded
    from seatrial.measure.compare.verdict import FIGURES

    if judged_by not in FIGURES:
        raise UsageError(f"unknown figure {judged_by!r}", mend=f"Known: {', '.join(FIGURES)}.")
    a, b = kept_side(run_a, workspace), kept_side(run_b, workspace)
    judged = judge(a, b, under_test=under_test, judged_by=judged_by)
    if folder is not None:
        given = {judged.label_a: historical} if historical else {}
        write_reports([Loaded(judged=judged, a=tuple(a), b=tuple(b), historical=given)], folder)
    if as_json:
        print_json(judged)
        leave(judged.outcome().verdict)
    _show_judged(judged)
    leave(judged.outcome().verdict)


@command.command("read")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--tool", help="Insist on this tool's format.")
@json_option
def read_command(path: Path, tool: str | None, as_json: bool) -> None:
    """Read what evalscope, vllm bench serve, guidellm or aiperf wrote at PATH into the one vocabulary."""
    from seatrial.measure.load.readers import read_results
    from seatrial.measure.load.session import summary

    found = read_results(path, tool)
    if as_json:
        print_json(found)
        return
    for one in found:
        metrics = one.metrics
        out().print(f"{one.file}: {metrics.tool}: {summary(metrics)}", markup=False)
        for name, why in metrics.unknown.items():
            out().print(f"    {name}: unknown ({why})", markup=False)
        for doubt in metrics.doubts:
            out().print(f"    {doubt}", markup=False)


@command.command("precheck")
@click.option("--target", default="cpu", show_default=True, help="The target whose thresholds and devices count.")
@json_option
def precheck_command(target: str, as_json: bool) -> None:
    """Is this machine fit for a measurement right now? The looks that `run` takes before a service starts."""
    from seatrial.measure.load.precheck import idle_samples, judge_gate, snapshot
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    before = snapshot(chosen.platform)
    idle = idle_samples(chosen, [])
    gate = judge_gate(chosen, before, idle, (idle[0], idle[-1]) if len(idle) > 1 else None, idle[-1] if idle else None)
    verdict = Verdict.PASS if gate.passed else Verdict.FAIL
    if as_json:
        print_json({"verdict": verdict, "gate": gate})
        leave(verdict)
    out().print(f"[{STYLES[verdict]}]{verdict.value}[/]  ", end="")
    used = "unknown" if gate.foreign_cpu_idle is None else f"{gate.foreign_cpu_idle:.0f} %"
    out().print(f"other processes use {used} of the cores", markup=False)
    for reason in gate.reasons:
        out().print(f"    {reason}", markup=False)
    leave(verdict)


def _go(fields: dict[str, Any], workspace: Path) -> BenchEnded:
    from seatrial.core.record import to_plain
    from seatrial.evidence import open_workspace
    from seatrial.targets import find_overrides
    from seatrial.workflow.bench import run_bench

    job = job_of({k: to_plain(v) for k, v in fields.items()}, "bench")
    return run_bench(
        job,
        workspace=open_workspace(workspace, write=True),
        overrides=find_overrides(Path.cwd()),
        argv=tuple(sys.argv[1:]),
        say=lambda text: err().print(text, markup=False),
    )


def _finish(ended: BenchEnded, as_json: bool) -> None:
    from seatrial.measure.load.session import seen_by_server, summary

    if as_json:
        print_json(ended)
        leave(ended.verdict)
    console = out()
    for run in ended.runs:
        console.print(f"{run.setup.label}  {run.level}  {summary(run.metrics)}", markup=False)
        if told := seen_by_server(run.metrics):
            console.print(f"    {told}", markup=False)
        for doubt in run.doubts:
            console.print(f"    {doubt}", markup=False)
    if ended.judged is not None:
        _show_judged(ended.judged)
    console.print(f"[{STYLES[ended.verdict]}]{ended.verdict.value}[/]  ", end="")
    console.print(f"{ended.reason}\nkept: {ended.folder}".lstrip(), markup=False)
    leave(ended.verdict)


def _show_judged(judged: Judged) -> None:
    from seatrial.core.quantity import measured
    from seatrial.measure.compare.report import better

    console = out()
    console.print(f"{judged.label_b} against {judged.label_a}: {judged.answer}. {judged.reason}", markup=False)
    for difference in judged.fairness.differences:
        line = f"  {difference.kind:9} {difference.field}: {difference.a} / {difference.b}  {difference.why}"
        console.print(line, markup=False)
    for doubt in judged.doubts:
        console.print(f"  no percentage: {doubt}", markup=False)
    winners = better(judged)
    for name, c in judged.figures.items():
        interval = f" [{c.low:+.1%}, {c.high:+.1%}]" if c.low is not None and c.high is not None else ""
        p = f" p={c.p:.3f}" if c.p is not None else ""
        who = f"  better: {winners[name]}" if name in winners else ""
        console.print(
            f"  {name:20} {measured(c.mean_a):>10} {measured(c.mean_b):>10} {c.change:+7.1%}{interval}{p}{who}",
            markup=False,
        )


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    from seatrial.core.errors import UsageError

    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"{setting!r} is no setting", mend="Give it as NAME=VALUE.")
        found[name] = value
    return found
