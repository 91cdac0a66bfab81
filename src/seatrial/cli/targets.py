"""List targets and show what one comes to."""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli.common import err, json_option, out, print_json


@click.group()
def command() -> None:
    """What a model can be run on: an engine, a platform, devices, environment, arguments, limits.

    A `seatrial.toml` in this folder or above overrides any value and adds targets of its own.
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the known targets."""
    from seatrial.core.errors import SeatrialError
    from seatrial.targets import find_overrides, load_target, target_names

    overrides = find_overrides(Path.cwd())
    located, faulty = [], []
    for name in target_names(overrides):
        try:
            located.append(load_target(name, overrides))
        except SeatrialError as exc:
            faulty.append((name, exc))
    if as_json:
        print_json(located)
    else:
        for one in located:
            out().print(f"{one.target.name:<14} {one.target.platform:<8} {one.target.description}", markup=False)
    for name, error in faulty:
        err().print(f"target {name}: {error.one_line()}", style="red", markup=False, highlight=False)
    if faulty:
        raise SystemExit(faulty[0][1].exit_code)


@command.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show target NAME with every default and override applied."""
    from seatrial.targets import find_overrides, load_target

    located = load_target(name, find_overrides(Path.cwd()))
    if as_json:
        print_json(located)
        return
    from seatrial.core.record import to_plain

    console = out()
    console.print(f"from: {', '.join(located.sources)}", markup=False)
    _show(to_plain(located.target), "")


def _show(value: dict[str, object], prefix: str) -> None:
    console = out()
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, dict) and {"value", "unit", "source"} <= set(item):
            console.print(f"{path} = {item['value']} {item['unit']}  ({item['source']}: {item['note']})", markup=False)
        elif isinstance(item, dict):
            _show(item, f"{path}.")
        else:
            console.print(f"{path} = {item}", markup=False)
