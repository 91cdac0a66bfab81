"""What a profiler's trace says, in seconds, for every rank; diffs, views, and collecting one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import json_option, out, print_json
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
@json_option
def read_command(
    traces: tuple[Path, ...],
    top: int,
    step_marker: str | None,
    boundary: str | None,
    thresholds: Path | None,
    no_cache: bool,
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
    report = answers.load(traces, key) if key else None
    opened: list[Trace] = []
    if report is None:
        from seatrial.measure.profile.analyse import analyse

        opened = _open(traces, not no_cache, limits)
        report = analyse(opened, top=top, marker=marker, boundary=pair, limits=limits)
        if key:
            answers.save(traces, key, report)
    if as_json:
        print_json(report)
    else:
        show_report(report)
    raise SystemExit(_code(report))


def _code(report: ProfileReport) -> int:
    return EXIT_PASS if any(rank.devices for rank in report.ranks) else EXIT_INCONCLUSIVE


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
