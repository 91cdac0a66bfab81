"""The program's commands as tools: names, descriptions and schemas come from click, so none is described twice."""

from __future__ import annotations

from typing import Any

import click

from seatrial.agents.mcp_server import Parameter, ToolSpec

# Commands that only look: they start no engine, write nothing and change nothing.
READ_ONLY = {
    "accuracy check", "accuracy compare", "assess", "bench compare", "bench read", "compat", "compat matrix",
    "diff", "doctor", "engine list", "hardware list", "hardware show", "history search",
    "history show", "inspect", "lint", "loop status", "plan", "profile families", "registry diff", "registry list",
    "registry show", "runs list", "runs show", "runs verify", "serve status", "skills list", "targets list",
    "targets show", "triage logs", "triage signatures", "verify",
}  # fmt: skip
# Neither tools nor of use to an agent over this channel.
NEVER = {"mcp", "skills install", "skills uninstall"}
# Parameters of looking commands that write a file or wait on a terminal.
WRITING = {
    "out",
    "html",
    "bundle",
    "fix",
    "write",
    "save",
    "serve",
    "learn",
    "forget",
    "watch",
    "follow",
    "undo",
    "apply",
    "force",
}
# Parameters that wait until somebody ends the command: no tool has them, or a call would never be answered.
WAITING = {"serve", "watch", "follow"}


def tools(program: click.Group, *, allow_writes: bool) -> tuple[ToolSpec, ...]:
    """Every command that takes `--json`; the looking ones alone unless writing is allowed."""
    found = [_tool(path, command) for path, command in _leaves(program, ()) if _has_json(command)]
    kept = [t for t in found if " ".join(t.words) not in NEVER]
    return tuple(t for t in kept if t.is_read_only or allow_writes)


def _leaves(group: click.Group, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            if command.invoke_without_command and command.params:
                found.append(((*path, name), command))
            found += _leaves(command, (*path, name))
        elif command is not None:
            found.append(((*path, name), command))
    return found


def _has_json(command: click.Command) -> bool:
    return any(p.name == "as_json" for p in command.params)


def _tool(path: tuple[str, ...], command: click.Command) -> ToolSpec:
    name = " ".join(path)
    is_read_only = name in READ_ONLY
    parameters = []
    properties: dict[str, Any] = {}
    required = []
    for parameter in command.params:
        shown = parameter.name or ""
        # An argument names what is looked at: only options write.
        words = {shown, *(o.lstrip("-") for o in parameter.opts)} if isinstance(parameter, click.Option) else set()
        if shown in ("as_json", "help") or words & WAITING or (is_read_only and words & WRITING):
            continue
        is_switch = isinstance(parameter, click.Option) and parameter.is_flag
        is_repeated = parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs != 1
        flag = (
            next((o for o in parameter.opts if o.startswith("--")), "") if isinstance(parameter, click.Option) else ""
        )
        off = next((o for o in parameter.secondary_opts if o.startswith("--")), "")
        kind = "switch" if is_switch else "value" if flag else "argument"
        parameters.append(Parameter(name=shown, flag=flag, kind=kind, off=off, is_repeated=is_repeated))  # type: ignore[arg-type]
        properties[shown] = _schema(parameter, is_switch=is_switch, is_repeated=is_repeated)
        if parameter.required:
            required.append(shown)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    text = " ".join((command.help or command.short_help or name).split())
    return ToolSpec(
        name=name.replace(" ", "_").replace("-", "_"),
        description=text[:1000],
        words=path,
        parameters=tuple(parameters),
        schema=schema,
        is_read_only=is_read_only,
    )


def _schema(parameter: click.Parameter, *, is_switch: bool, is_repeated: bool) -> dict[str, Any]:
    kinds: dict[type, str] = {click.IntRange: "integer", click.FloatRange: "number"}
    kind = "boolean" if is_switch else kinds.get(type(parameter.type), "string")
    if isinstance(parameter.type, click.types.IntParamType):
        kind = "integer"
    elif isinstance(parameter.type, click.types.FloatParamType):
        kind = "number"
    one: dict[str, Any] = {"type": kind}
    if isinstance(parameter.type, click.Choice):
        one["enum"] = list(parameter.type.choices)
    if isinstance(parameter, click.Option) and parameter.help:
        one["description"] = parameter.help
    return {"type": "array", "items": one} if is_repeated else one
