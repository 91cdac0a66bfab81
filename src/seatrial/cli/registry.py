"""Read vLLM's model registry and a plugin's registrations from source, without importing either.

SRC is a source tree, an sdist, a wheel, a virtual environment or its interpreter.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import json_option, leave, print_json
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seatrial.core.finding import Finding
    from seatrial.support.registry_records import Registered

SRC = click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
PLUGINS = click.option(
    "--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="A plugin to lay over it; repeatable."
)


@click.group()
def command() -> None:
    """What architectures a vLLM and its plugins register, read from source; nothing is imported.

    SRC is a source tree, an sdist, a wheel, a virtual environment or its interpreter. Plugins installed in an
    environment are read with it.
    """


@command.command("list")
@SRC
@PLUGINS
@click.option("--all", "everything", is_flag=True, help="Also those vLLM only remembers: removed, or out of tree.")
@json_option
def list_(source: Path, plugins: tuple[Path, ...], everything: bool, as_json: bool) -> None:
    """List the architectures, one a line, with class and owner."""
    from seatrial.support.registry_read import read_registry

    table = read_registry(source, plugins)
    if as_json:
        print_json(table)
        return
    shown = [e for e in table.architectures if everything or e.state == "registered"]
    width = max((len(e.architecture) for e in shown), default=0)
    for entry in shown:
        click.echo(f"{entry.architecture:<{width}}  {_line(entry)}")
    states = {
        state: sum(e.state == state for e in table.architectures)
        for state in ("registered", "previously-supported", "out-of-tree")
    }
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    click.echo(f"vLLM {table.engine_version or 'of unknown version'}: {counts}", err=True)
    _notes(table.findings)


@command.command()
@click.argument("architecture")
@SRC
@PLUGINS
@json_option
def show(architecture: str, source: Path, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Show one architecture: who serves it, by which class, from which line. Exit code 1 if nobody does."""
    from seatrial.support.registry_read import read_registry

    table = read_registry(source, plugins)
    entry = table.get(architecture)
    if entry is None:
        near = _near(architecture, table.supported())
        if as_json:
            print_json({"architecture": architecture, "state": "unknown", "nearest": near})
        else:
            hint = f"Nearest names: {', '.join(near)}." if near else "See `seatrial registry list`."
            click.echo(f"vLLM {table.engine_version or 'of unknown version'} knows no {architecture}. {hint}")
        _notes(table.findings)
        leave(Verdict.FAIL)
        return
    if as_json:
        print_json(entry)
    else:
        rows = {
            "state": _line(entry),
            "owner": entry.owner,
            "place": entry.place,
            "overwrites": entry.overwrites,
            "condition": entry.condition,
        }
        click.echo(architecture)
        for name, value in rows.items():
            if value:
                click.echo(f"  {name:<10} {value}")
    leave(Verdict.PASS if entry.state == "registered" else Verdict.FAIL)


@command.command()
@click.argument("old", metavar="A", type=click.Path(path_type=Path))
@click.argument("new", metavar="B", type=click.Path(path_type=Path))
@PLUGINS
@json_option
def diff(old: Path, new: Path, plugins: tuple[Path, ...], as_json: bool) -> None:
    """What changes from the registry of A to that of B (plugins are laid over both)."""
    from seatrial.support.registry_read import difference, read_registry

    before, after = read_registry(old, plugins), read_registry(new, plugins)
    change = difference(before, after)
    if as_json:
        print_json(change)
        return
    for entry in change.added:
        click.echo(f"+ {entry.architecture}  {_line(entry)}")
    for entry in change.removed:
        click.echo(f"- {entry.architecture}  {_line(entry)}")
    for was, now in change.changed:
        click.echo(f"~ {was.architecture}  {_line(was)}  ->  {_line(now)}")
    counts = f"{len(change.added)} added, {len(change.removed)} removed, {len(change.changed)} changed"
    click.echo(f"vLLM {before.engine_version or '?'} -> {after.engine_version or '?'}: {counts}", err=True)


def _line(entry: Registered) -> str:
    if entry.state == "previously-supported":
        return f"supported until vLLM {entry.detail}"
    if entry.state == "out-of-tree":
        return f"out of tree: {entry.detail}"
    note = f", overwrites {entry.overwrites}" if entry.overwrites else ""
    return f"{entry.class_path} ({entry.owner}{note})"


def _near(architecture: str, known: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(architecture, list(known), n=3, cutoff=0.6)


def _notes(findings: Iterable[Finding]) -> None:
    for finding in findings:
        if finding.severity.value != "info":
            click.echo(f"{finding.severity.value}: {finding.one_line()}", err=True)
