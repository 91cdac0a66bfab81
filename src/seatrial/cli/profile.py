"""What a profiler's trace says, in seconds, for every rank; diffs, views, and collecting one."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import FiniteRange, err, json_option, leave, out, print_json
from seatrial.core.errors import EXIT_INCONCLUSIVE, EXIT_PASS, UsageError

if TYPE_CHECKING:
    from seatrial.measure.profile.events import Trace
    from seatrial.measure.profile.records import ProfileReport
    from seatrial.measure.profile.thresholds import Thresholds

TRACES = click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def command() -> None:
    """Read torch/Kineto, torch_npu and msprof profiles: busy, overlap, idle, five tables, steps, bubbles, ranks.

    Needs the extra: pip install 'seatrial[profile]'. Exit code 3: nothing could be said about the trace.
    """


def _open(traces: tuple[Path, ...], use_cache: bool, limits: Thresholds | None = None) -> list[Trace]:
    from seatrial.measure.profile.extra import require

    require("numpy", "msgspec")
    from seatrial.measure.profile.open import open_traces

    return open_traces(list(traces), use_cache=use_cache, limits=limits)


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    """A file of the user's choice that cannot be written is a word of the user's that can be mended."""
    try:
        yield
    except OSError as exc:
        raise UsageError(f"{file} cannot be written: {exc.strerror or exc}", mend="Name another file.") from exc


def _pattern(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    try:
        re.compile(text)
    except re.error as exc:
        raise UsageError(
            f"{option} {text!r} is no regular expression: {exc}", mend="Escape brackets with a backslash."
        ) from exc
    return text


def _boundary(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    before, arrow, after = text.partition("->")
    if not arrow or not before.strip() or not after.strip():
        raise UsageError(f"--boundary {text!r} is not A->B", mend="For example: --boundary 'ArgMaxV2->MODEL_EXECUTE'")
    return _pattern(before.strip(), "--boundary") or "", _pattern(after.strip(), "--boundary") or ""


@command.command("read")
@TRACES
@click.option("--top", type=click.IntRange(1, 100_000), default=15, show_default=True, help="Rows per table.")
@click.option("--step-marker", metavar="REGEX", help="Events that span a step, where none are found by themselves.")
@click.option("--boundary", metavar="A->B", help="Bubbles from events matching A to the next matching B, by regex.")
@click.option(
    "--thresholds", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file in place of ours."
)
@click.option("--no-cache", is_flag=True, help="Neither read nor write the columnar cache beside the trace.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page with the timeline.")
@click.option("--explains", metavar="RUN", help="Keep the answer as a run that explains this bench run.")
@click.option(
    "--workspace", default=".", type=click.Path(path_type=Path), show_default=True, help="The folder of .seatrial."
)
@json_option
def read_command(
    traces: tuple[Path, ...],
    top: int,
    step_marker: str | None,
    boundary: str | None,
    thresholds: Path | None,
    no_cache: bool,
    html: Path | None,
    explains: str | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Say what the TRACES (files or folders, one per rank or all in one) hold."""
    from seatrial.measure.profile.extra import require

    marker, pair = _pattern(step_marker, "--step-marker"), _boundary(boundary)
    require("numpy", "msgspec")
    from seatrial.cli._profile_show import show_report
    from seatrial.measure.profile import answers
    from seatrial.measure.profile.thresholds import load_thresholds

    limits = load_thresholds(thresholds) if thresholds is not None else load_thresholds()
    key = "" if no_cache else answers.key(traces, (top, marker, pair, limits))
    report = answers.load(traces, key) if key and html is None else None
    opened: list[Trace] = []
    if report is None:
        from seatrial.measure.profile.analyse import analyse

        opened = _open(traces, not no_cache, limits)
        report = analyse(opened, top=top, marker=marker, boundary=pair, limits=limits)
        if key:
            answers.save(traces, key, report)
    if html is not None:
        from seatrial.core.atomic import write_atomic
        from seatrial.measure.profile.view import page

        with _writing(html):
            write_atomic(html, page(report, opened).encode())
        err().print(f"page: {html}", markup=False)
    if explains is not None:
        from seatrial.evidence import open_workspace
        from seatrial.workflow.profile import keep_profile

        kept = keep_profile(
            report, explains=explains, workspace=open_workspace(workspace, write=True), argv=tuple(sys.argv[1:])
        )
        err().print(f"kept as run {kept}", markup=False)
    if as_json:
        print_json(report)
    else:
        show_report(report)
    raise SystemExit(_code(report))


def _code(report: ProfileReport) -> int:
    return EXIT_PASS if any(rank.devices or rank.vendor for rank in report.ranks) else EXIT_INCONCLUSIVE


@command.command("families")
@json_option
def families_command(as_json: bool) -> None:
    """List the kernel families by which kernels and operators are rolled up."""
    from seatrial.measure.profile.families import FAMILIES

    if as_json:
        print_json(FAMILIES)
        return
    for family in FAMILIES:
        out().print(f"{family.name:<18}{family.about}", markup=False)


@command.command("diff")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--target", metavar="REGEX", help="The kernels that the change was meant for.")
@click.option("--predict", type=FiniteRange(min=0.0), help="Their time in B as a part of that in A, as predicted.")
@click.option("--tolerance", type=FiniteRange(min=0.0), default=0.1, show_default=True, help="Of the predicted ratio.")
@click.option("--top", type=click.IntRange(1, 100_000), default=15, show_default=True, help="Rows per table.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write the columnar cache beside the trace.")
@json_option
def diff_command(
    a: Path,
    b: Path,
    target: str | None,
    predict: float | None,
    tolerance: float,
    top: int,
    no_cache: bool,
    as_json: bool,
) -> None:
    """What changed from A to B, per step where both have steps.

    With --target and --predict the exit code is the prediction's: 0 as predicted, 1 not, 3 it cannot be told.
    """
    if (target is None) != (predict is None):
        raise UsageError("--target and --predict go together", mend="For example: --target MatMulV3 --predict 0.8")
    pattern = _pattern(target, "--target")
    sides = [_open((path,), not no_cache) for path in (a, b)]
    from seatrial.cli._profile_show import show_diff
    from seatrial.measure.profile.analyse import analyse
    from seatrial.measure.profile.diff import compare

    reports = [analyse(traces, top=1_000_000) for traces in sides]
    found = compare(reports[0], reports[1], target=pattern, predicted=predict, tolerance=tolerance)
    if as_json:
        print_json(found)
    else:
        show_diff(found, top)
    if found.prediction is not None:
        leave(found.prediction.outcome.verdict)


@command.command("collect")
@click.option("--service", required=True, metavar="URL", help="http://HOST:PORT of a vLLM started with a profiler.")
@click.option(
    "--traces", required=True, type=click.Path(file_okay=False, path_type=Path), help="The server's torch_profiler_dir."
)
@click.option("--requests", type=click.IntRange(1, 10_000), default=2, show_default=True, help="Within the window.")
@click.option("--warmup", type=click.IntRange(0, 10_000), default=1, show_default=True, help="Before the window.")
@click.option("--max-tokens", type=click.IntRange(1, 1_000_000), default=16, show_default=True)
@click.option("--prompt", default=None, help="The text to go on with; ours if left out.")
@click.option(
    "--wait", "wait_s", type=FiniteRange(min=1.0), default=300.0, show_default=True, help="For the traces, s."
)
@json_option
def collect_command(
    service: str,
    traces: Path,
    requests: int,
    warmup: int,
    max_tokens: int,
    prompt: str | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Collect torch traces from a running vLLM; a capture that is not whole is inconclusive (exit code 3)."""
    from seatrial.core.atomic import write_atomic
    from seatrial.core.record import to_json
    from seatrial.measure.profile.extra import require

    require("numpy", "msgspec")
    from seatrial.measure.profile.collect import Workload, collect, judged

    work = Workload(requests=requests, warmup=warmup, max_tokens=max_tokens, trace_s=wait_s)
    if prompt is not None:
        from seatrial.core.record import replace

        work = replace(work, prompt=prompt)
    console = err()
    capture = collect(service, traces, work, lambda text: console.print(text, markup=False))
    if capture.traces:
        from seatrial.measure.profile.whole import faults

        capture = judged(capture, faults([Path(t) for t in capture.traces]))
        write_atomic(traces / "capture.seatrial.json", to_json(capture, indent=2))
    if as_json:
        print_json(capture)
    else:
        head = f"{capture.outcome.verdict.value}  {capture.model or 'no model'}  {capture.answered} answered"
        out().print(head, markup=False)
        for reason in capture.reasons:
            out().print(f"  {reason}", markup=False)
        for trace in capture.traces:
            out().print(f"  {trace}", markup=False)
        if capture.traces:
            out().print(f"next: seatrial profile read {traces}", markup=False)
    leave(capture.outcome.verdict)


@command.command("attach-plan")
@click.option("--pid", required=True, type=click.IntRange(min=1), help="The service's parent process.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("profiling"), show_default=True)
@json_option
def attach_plan_command(pid: int, output: Path, as_json: bool) -> None:
    """How to attach msprof to a running service on Ascend: preconditions as seen here, and the commands."""
    from seatrial.measure.profile.msprof_plan import attach_plan

    plan = attach_plan(pid, output)
    if as_json:
        print_json(plan)
    else:
        for check in plan.preconditions:
            mark = {True: "met", False: "not met", None: "unknown"}[check.met]
            out().print(f"{mark:<9}{check.name}: {check.why}", markup=False)
        for step in plan.commands:
            out().print(f"# {step.purpose}\n{step.shell()}", markup=False)
        out().print("in the session: " + "; ".join(plan.session), markup=False)
    leave(plan.outcome.verdict)


@command.command("cut")
@TRACES
@click.option(
    "--out", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
@click.option(
    "--from", "first_ms", type=FiniteRange(min=0.0), default=0.0, show_default=True, help="ms after the start."
)
@click.option("--to", "last_ms", type=FiniteRange(min=0.0), required=True, help="In ms after the start.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write the columnar cache beside the trace.")
@json_option
def cut_command(
    traces: tuple[Path, ...], file: Path, first_ms: float, last_ms: float, no_cache: bool, as_json: bool
) -> None:
    """Write a window of the TRACES as Chrome JSON, which ui.perfetto.dev opens; ranks aligned."""
    if last_ms <= first_ms:
        raise UsageError(f"--to {last_ms:g} is not after --from {first_ms:g}", mend="Both are milliseconds.")
    opened = sorted(_open(traces, not no_cache), key=lambda t: (t.rank, t.sources))
    from seatrial.measure.profile.cut import write_cut
    from seatrial.measure.profile.ranks import align
    from seatrial.measure.profile.thresholds import load_thresholds

    offsets = align(opened, load_thresholds().ranks).offsets if len(opened) > 1 else [0]
    with _writing(file):
        many = write_cut(opened, offsets, int(first_ms * 1e6), int(last_ms * 1e6), file)
    if as_json:
        print_json({"file": str(file), "events": many})
    else:
        out().print(f"{file}: {many:,} events", markup=False)
    raise SystemExit(EXIT_PASS if many else EXIT_INCONCLUSIVE)


@command.command("roofline")
@TRACES
@click.option("--checkpoint", required=True, type=click.Path(exists=True, path_type=Path), help="What was served.")
@click.option("--hardware", required=True, help="The device, by name or .toml file; see `seatrial hardware list`.")
@click.option("--context", required=True, type=click.IntRange(0), help="Mean cached tokens of a decoding request.")
@click.option("--tp", default=1, show_default=True, type=click.IntRange(1), help="Tensor-parallel size.")
@click.option("--dp", default=1, show_default=True, type=click.IntRange(1), help="Data-parallel size.")
@click.option("--ep", is_flag=True, help="Whole experts were spread over the ranks.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write the columnar cache beside the trace.")
@json_option
def roofline_command(
    traces: tuple[Path, ...],
    checkpoint: Path,
    hardware: str,
    context: int,
    tp: int,
    dp: int,
    ep: bool,
    no_cache: bool,
    as_json: bool,
) -> None:
    """The TRACES beside the plan's lower bounds: time, MFU and MBU per component and phase."""
    from seatrial.estimate import Layout, Serving, engine_rules, read_model
    from seatrial.estimate.compute import lay_out
    from seatrial.estimate.model import Lacking, NotModelled
    from seatrial.targets.hardware import load_hardware

    device = load_hardware(hardware)
    layout = Layout(tp=tp, dp=dp, ep=ep)
    try:
        work = lay_out(read_model(checkpoint), layout, Serving(), engine_rules(device.platform))
    except Lacking as exc:
        raise UsageError(f"{checkpoint}: {exc.field}: {exc.why}", mend="The plan has no bound without it.") from exc
    except NotModelled as exc:
        raise UsageError(f"{checkpoint}: no formula for {exc}", mend="See docs/plan.md for what is modelled.") from exc
    opened = _open(traces, not no_cache)
    from seatrial.cli._profile_show import show_join
    from seatrial.measure.profile.analyse import analyse
    from seatrial.measure.profile.roofline import join

    found = join(analyse(opened), work, device, context)
    if as_json:
        print_json(found)
    else:
        show_join(found)
    raise SystemExit(EXIT_PASS if found.rows else EXIT_INCONCLUSIVE)
