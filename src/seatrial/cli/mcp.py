"""Serve the commands as tools to an agent (Model Context Protocol), read-only by default."""

from __future__ import annotations

import click

from seatrial.cli.common import out, print_json


@click.command()
@click.option("--allow-writes", is_flag=True, help="Offer the commands too that start engines or write files.")
@click.option("--list", "only_list", is_flag=True, help="Print the tools instead of serving them.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print them as JSON with their schemas.")
def command(allow_writes: bool, only_list: bool, as_json: bool) -> None:
    """Answer an MCP client on standard input and output until it closes them (needs the extra `mcp`)."""
    from seatrial.agents.mcp_server import make_server, serve
    from seatrial.cli._mcp_tools import tools
    from seatrial.cli.main import program

    found = tools(program, allow_writes=allow_writes)
    if only_list or as_json:
        if as_json:
            print_json(found)
            return
        console = out()
        for tool in found:
            mark = "looks " if tool.is_read_only else "writes"
            console.print(f"{mark}  {tool.name:<20} {tool.description.split('. ')[0]}", markup=False)
        return
    server = make_server(found)
    import anyio

    anyio.run(serve, server)
