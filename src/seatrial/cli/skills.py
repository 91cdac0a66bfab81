"""Install short workflows for coding agents, list them, or take them away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seatrial.cli.common import json_option, out, print_json

agent_option = click.option(
    "--agent",
    type=click.Choice(["claude", "codex", "opencode", "generic"]),
    default="generic",
    show_default=True,
    help="Whose folder for skills to use.",
)
to_option = click.option("--to", default=".", type=click.Path(), show_default=True, help="The project's folder.")


@click.group()
def command() -> None:
    """Skills: short workflows that call these commands and read their JSON."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the skills that ship with seatrial."""
    from seatrial.agents import read_skills

    skills = read_skills()
    if as_json:
        print_json(skills)
        return
    console = out()
    for skill in skills:
        console.print(f"{skill.name:<24} {skill.description}", markup=False)


@command.command()
@agent_option
@to_option
@click.option("--link", is_flag=True, help="Link the folders instead of copying them.")
@json_option
def install(agent: str, to: str, link: bool, as_json: bool) -> None:
    """Put the skills where an agent looks for them; doing it twice changes nothing."""
    from seatrial.agents import install as put

    _show(put(agent, Path(to), link=link), as_json)


@command.command()
@agent_option
@to_option
@json_option
def uninstall(agent: str, to: str, as_json: bool) -> None:
    """Take away what `install` put there, and nothing else."""
    from seatrial.agents import uninstall as take

    _show(take(agent, Path(to)), as_json)


def _show(done: Any, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    console = out()
    for one in done:
        console.print(f"{one.state:<10} {one.place}", markup=False)
