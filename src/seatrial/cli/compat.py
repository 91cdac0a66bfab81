"""Measure whether a plugin's source fits a vLLM's source, without importing either.

Exit codes: 0 nothing breaks, 1 something does, 3 undecided.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import STYLES, json_option, leave, out, print_json
from seatrial.core.errors import UsageError
from seatrial.core.verdict import Verdict, combine

if TYPE_CHECKING:
    from seatrial.support.compat import CompatReport, Hit

SOURCE = click.Path(path_type=Path)


@click.group(invoke_without_command=True)
@click.option("--engine", type=SOURCE, help="vLLM: a source tree, sdist, wheel, environment or its interpreter.")
@click.option("--plugin", type=SOURCE, help="The plugin, likewise.")
@click.option("--engine-version", default="", help="What the plugin's version tests see, whatever the source says.")
@click.option("--all", "everything", is_flag=True, help="Also what is guarded, out of reach or only a warning.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    engine: Path | None,
    plugin: Path | None,
    engine_version: str,
    everything: bool,
    as_json: bool,
) -> None:
    """Every import, call, override, patch and hook of a plugin against the source of one vLLM."""
    if context.invoked_subcommand is not None:
        if engine or plugin or engine_version or everything or as_json:
            raise UsageError(
                f"options before {context.invoked_subcommand!r} are not its own and would be read by nobody",
                mend=f"Put them after it: seatrial compat {context.invoked_subcommand} --engine SRC --plugin SRC.",
            )
        return
    if engine is None or plugin is None:
        raise UsageError("compat needs --engine SRC and --plugin SRC", mend="See `seatrial compat --help`.")
    from seatrial.support.compat import compat

    report = compat(engine, plugin, version=engine_version)
    if as_json:
        print_json(report)
    else:
        _print(report, everything)
    leave(report.outcome.verdict)


@command.command()
@click.option("--engine", "engines", multiple=True, required=True, type=SOURCE, help="A vLLM source; repeatable.")
@click.option("--plugin", "plugins", multiple=True, required=True, type=SOURCE, help="A plugin source; repeatable.")
@json_option
def matrix(engines: tuple[Path, ...], plugins: tuple[Path, ...], as_json: bool) -> None:
    """Several plugins against several vLLMs: breakages, and architectures that import, for each pair."""
    from seatrial.support.compat import compat

    reports = [compat(engine, plugin) for plugin in plugins for engine in engines]
    if as_json:
        print_json(reports)
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table("plugin", "vLLM", "verdict", "breakages", "architectures that import")
        for report in reports:
            good = sum(a.importable for a in report.architectures)
            table.add_row(
                escape(f"{report.plugin_name} {report.plugin_version or '(no version)'}"),
                escape(report.engine_version or f"unknown ({report.engine})"),
                f"[{STYLES[report.outcome.verdict]}]{report.outcome.verdict.value}[/]",
                str(len(report.breakages())),
                f"{good} of {len(report.architectures)}",
            )
        out().print(table)
        for report in (r for r in reports if r.outcome.verdict is Verdict.INCONCLUSIVE):
            out().print(f"{escape(report.plugin)} on {escape(report.engine)}: {escape(report.outcome.reason)}")
    leave(combine(r.outcome.verdict for r in reports))


def _print(report: CompatReport, everything: bool) -> None:
    from rich.markup import escape

    console = out()
    style = STYLES[report.outcome.verdict]
    pair = f"{report.plugin_name} {report.plugin_version} × vLLM {report.engine_version or 'of unknown version'}"
    console.print(f"{escape(pair)}: [{style}]{report.outcome.verdict.value}[/] {escape(report.outcome.reason)}")
    for hit in report.hits if everything else report.breakages():
        console.print(f"  {escape(_line(hit))}")
    hidden = len(report.hits) - len(report.breakages())
    if hidden and not everything:
        console.print(f"  ({hidden} more are guarded, out of reach or warnings: --all)")
    for impact in report.architectures:
        state = "imports" if impact.importable else f"does not import: {impact.because[0]}"
        console.print(f"  {escape(impact.architecture)}: {escape(state)}")
    for line in report.registrations_unread:
        console.print(f"  not judged: {escape(line)}")
    counts = report.counts
    console.print(
        f"{counts.names_checked} names, {counts.calls_checked} calls and {counts.overrides_checked} overrides checked "
        f"in {counts.modules} modules ({counts.modules_reached} within reach); not decidable from the text: "
        f"{counts.names_undecided} names, {counts.calls_undecided} calls"
    )
    if report.outcome.verdict is Verdict.FAIL:
        console.print("A place that says 'on import' breaks its whole module; one 'on use' breaks when that code runs.")


def _line(hit: Hit) -> str:
    moved = f" (now {hit.moved_to[0]})" if hit.moved_to else ""
    state = (
        ""
        if hit.breaks
        else " [guarded]"
        if hit.guarded
        else " [out of reach]"
        if not hit.reached
        else f" [{hit.severity.value}]"
    )
    breaks = f"; breaks {', '.join(hit.architectures[:4])}" if hit.architectures else ""
    more = f" and {len(hit.architectures) - 4} more" if len(hit.architectures) > 4 else ""
    place = f"{hit.file}:{hit.line}" if hit.line else hit.file
    return f"{hit.code} {place} on {hit.when}: {hit.message}{moved}{breaks}{more}{state}"
