"""Write a small tested file of a quantisation adapter into a plugin: repack orders, scales, fp8, ModelSlim mapping.

Exit codes: 0 written or already there, 2 usage or a file of another content is in the way.
"""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli.common import json_option, out, print_json


@click.command()
@click.argument("name", default="")
@click.option("--into", type=click.Path(path_type=Path), help="The folder of the plugin it is written to.")
@click.option("--model-type", default="", help="For modelslim-mapping: model_type of config.json.")
@click.option("--force", is_flag=True, help="Write over a file of another content.")
@click.option("--allow-dirty", is_flag=True, help="Write even if the git tree has uncommitted changes.")
@click.option("--dry-run", is_flag=True, help="Show the file and write nothing.")
@click.option("--undo", "take_back", is_flag=True, help="Take back the last write under --into.")
@json_option
def command(
    name: str,
    into: Path | None,
    model_type: str,
    force: bool,
    allow_dirty: bool,
    dry_run: bool,
    take_back: bool,
    as_json: bool,
) -> None:
    """Write the quantisation template NAME; without a name, list them."""
    from seatrial.adapter.quant import TEMPLATES, render
    from seatrial.adapter.writes import Writes, undo
    from seatrial.core.errors import UsageError

    if not name and not take_back:
        if as_json:
            print_json(list(TEMPLATES.values()))
        for template in () if as_json else TEMPLATES.values():
            out().print(f"{template.name} ({template.platform}): {template.summary}", markup=False)
        return
    if name and not take_back and name not in TEMPLATES:
        render(name, model_type)  # says which there are
    if into is None:
        raise UsageError("--into is missing", mend=f"seatrial quant-template {name or 'NAME'} --into PLUGIN_FOLDER")
    if not into.is_dir():
        raise UsageError(f"--into {into} is not a folder", mend="Name the folder of the plugin: --into FOLDER.")
    if take_back:
        batch = undo(into)
    else:
        data, file = render(name, model_type), TEMPLATES[name].file
        writes = Writes(into, f"seatrial quant-template {name}")
        there = writes.read(file)
        if there is not None and there != data and not force:
            raise UsageError(f"{into / file} is there with another content", mend="Look at it; --force writes over it.")
        writes.put(file, data)
        if dry_run:
            click.echo(writes.diff(), nl=False)
            return
        made = writes.commit(allow_dirty=allow_dirty)
        if made is None:
            if as_json:
                print_json({"changes": []})
            else:
                out().print(f"{into / file} is there already", markup=False)
            return
        batch = made
    if as_json:
        print_json(batch)
        return
    for change in batch.changes:
        out().print(f"{'taken back: ' if take_back else ''}{change.kind} {change.path}", markup=False)
