"""The commands as tools of the Model Context Protocol, each run as a process of its own.

In: `ToolSpec`s (made from the command line). Out: a server on standard input and output. Only tools marked read-only
are there unless writing was allowed. A tool's answer is the command's own JSON document with its exit code; its
progress are the lines the command writes to standard error. A cancelled call ends the command's process group.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from seatrial import __version__
from seatrial.core.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, EngineError
from seatrial.core.record import Record

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

LARGEST_ANSWER = 64 << 20
MOST_SAID, LONGEST_LINE = 50, 16_384  # lines of standard error that an answer holds, and characters of one
LONGEST_WORD = 128_000  # Linux takes 131,072 bytes for one word of a command line
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
INSTRUCTIONS = (
    "seatrial takes a checkpoint to a running, proven model on vLLM. Every tool answers with exit_code (0 pass, "
    "1 fail, 2 usage, 3 inconclusive, 4 tool or environment error) and the command's JSON document. Only 0 is a pass."
)


class Parameter(Record):
    """One parameter of a command: `flag` is empty for an argument. `off` is the flag that says no, if there is one."""

    name: str
    flag: str
    kind: Literal["argument", "value", "switch"]
    off: str = ""
    is_repeated: bool = False


class ToolSpec(Record):
    """A command as a tool. `words` are its name on the command line; `schema` describes its arguments."""

    name: str
    description: str
    words: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    schema: dict[str, Any] = msgspec.field(default_factory=dict)
    is_read_only: bool = True


def argv_of(tool: ToolSpec, arguments: dict[str, Any]) -> list[str]:
    """The command line for a call; raises ValueError for a parameter that the tool does not have, or lacks, and for a
    value that is not of its schema's type or cannot be a word of a command line.
    """
    known = {p.name: p for p in tool.parameters}
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ValueError(f"{tool.name} has no parameter {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    lacking = [n for n in tool.schema.get("required", ()) if arguments.get(n) in (None, "", [])]
    if lacking:
        raise ValueError(f"{tool.name} needs the parameter {lacking[0]!r}")
    properties = tool.schema.get("properties", {})
    for name, value in arguments.items():
        if value is not None:
            _check(name, value, properties.get(name, {}))
    options: list[str] = []
    plain: list[str] = []
    for parameter in tool.parameters:
        value = arguments.get(parameter.name)
        if parameter.kind == "switch":
            options += [word for word in [parameter.flag if value else parameter.off] if word and value is not None]
            continue
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            text = str(one)
            # Joined with the flag, so that a value that begins with a dash is none of its own.
            if parameter.kind == "value":
                options.append(f"{parameter.flag}={text}")
            else:
                plain.append(text)
    return [sys.executable, "-m", "seatrial", *tool.words, *options, "--json", "--", *plain]


def _check(name: str, value: Any, schema: dict[str, Any]) -> None:
    """Raises ValueError with the parameter's name in it."""
    kind = schema.get("type")
    if kind == "array":
        if not isinstance(value, list):
            raise ValueError(f"{name} must be a list")
        for one in value:
            _check(name, one, schema.get("items", {}))
        return
    allowed = TYPES.get(str(kind), (str, int, float, bool))
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise ValueError(f"{name} must be of type {kind}, not {type(value).__name__}")
    text = str(value)
    if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > LONGEST_WORD:
        raise ValueError(
            f"{name} has a NUL character, or more than {LONGEST_WORD:,} bytes: no command line can hold it"
        )


def make_server(tools: tuple[ToolSpec, ...]) -> Server[Any]:
    """Raises EngineError where the extra is not installed."""
    try:
        from mcp.server.lowlevel import Server
        from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations
    except ImportError as exc:
        raise EngineError("the MCP server needs the package mcp", mend="pip install 'seatrial[mcp]'") from exc
    by_name = {t.name: t for t in tools}

    async def list_tools(ctx: Any, params: Any) -> ListToolsResult:
        found = [
            Tool(
                name=t.name,
                description=t.description,
                input_schema=t.schema,
                annotations=ToolAnnotations(read_only_hint=t.is_read_only, destructive_hint=not t.is_read_only),
            )
            for t in tools
        ]
        return ListToolsResult(tools=found)

    async def call_tool(ctx: Any, params: Any) -> CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            return _told(f"there is no tool {params.name!r}; the server may be read-only")
        try:
            argv = argv_of(tool, params.arguments or {})
        except ValueError as exc:
            return _told(str(exc))
        try:
            answer = await run_command(argv, ctx.session.report_progress)
        except OSError as exc:
            return _told(f"the command cannot be started: {exc.strerror or exc}")
        # Anything but a verdict: a killed command's code is negative.
        is_error = answer["exit_code"] not in (EXIT_PASS, EXIT_FAIL, EXIT_INCONCLUSIVE)
        text = json.dumps(answer, ensure_ascii=False)
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structured_content=answer, is_error=is_error
        )

    def _told(message: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text=message)], is_error=True)

    return Server(
        "seatrial", version=__version__, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool
    )


async def run_command(argv: list[str], report: Any) -> dict[str, Any]:
    """Run one command. `report(progress, total, message)` is told each line of its standard error."""
    import anyio
    from anyio.streams.text import TextReceiveStream

    out: list[str] = []
    said: deque[str] = deque(maxlen=MOST_SAID)
    cut: list[str] = []
    process = await anyio.open_process(argv, stdin=-3, start_new_session=True)

    async def read_out() -> None:
        size = 0
        if process.stdout is not None:
            async for text in TextReceiveStream(process.stdout, errors="replace"):
                size += len(text)
                if size <= LARGEST_ANSWER:
                    out.append(text)
                else:
                    cut[:] = [f"the command's answer is larger than {LARGEST_ANSWER >> 20} MiB, and is left out"]

    async def read_said() -> None:
        rest, number = "", 0
        if process.stderr is not None:
            async for text in TextReceiveStream(process.stderr, errors="replace"):
                # A progress bar ends its lines with a carriage return; a line without an end is not kept whole.
                *lines, rest = re.split(r"[\r\n]", rest + text)
                rest = rest[:LONGEST_LINE]
                for line in filter(None, map(str.strip, lines)):
                    said.append(line[:LONGEST_LINE])
                    number += 1
                    await report(float(number), None, line[:500])
        if rest.strip():
            said.append(rest.strip())

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(read_out)
            group.start_soon(read_said)
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(20):
                    await process.wait()
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    try:
        document = json.loads("".join(out))
    except ValueError:
        document = None
        cut = cut or ["the command printed no JSON document"]
    return {"exit_code": code, "document": document, "messages": [*said, *cut]}


async def serve(server: Server[Any]) -> None:
    """Answer on standard input and output until the client closes them."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
