"""Copy an upstream model file into a plugin by rule, or merge the next upstream version into such a copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli._workbench import (
    RootPath,
    engine_source,
    known_platform,
    need,
    print_findings,
    take_back,
    write_files,
    writing_options,
)
from seatrial.cli.common import json_option, leave, out, print_json
from seatrial.core.finding import errors
from seatrial.core.record import to_plain
from seatrial.core.verdict import Verdict

if TYPE_CHECKING:
    from seatrial.adapter.port.run import Port
    from seatrial.adapter.port.upgrade import Upgrade

# Lines of each side of a conflict that are shown; the file has them all.
SHOWN = 8


@click.command()
@click.argument("module", required=False, default="")
@click.option("--into", "root", type=RootPath(path_type=Path), help="The plugin's root: where its setup.py is.")
@click.option("--platform", default="", help="ascend or kunlun (whose table of swaps is used), cpu or cuda (none).")
@click.option("--target", default="cpu", show_default=True, help="The target whose vLLM it shall run on.")
@click.option("--engine", type=click.Path(path_type=Path), help="This vLLM instead: tree, sdist, wheel, environment.")
@click.option("--from", "upstream", type=click.Path(path_type=Path), help="Copy from this vLLM, if not the same.")
@click.option("--architecture", "architectures", multiple=True, help="Register only this one; repeatable.")
@click.option("--fork", is_flag=True, help="Also where vLLM's own class would do.")
@click.option("--because", default="", help="Why it has to be a fork; kept in the file's header.")
@click.option("--upgrade", "upgrading", is_flag=True, help="MODULE is a ported file below the root: merge into it.")
@click.option("--base", type=click.Path(path_type=Path), help="--upgrade: the vLLM it was copied from.")
@click.option("--module", "copied", default="", help="--upgrade: what it was copied from, if its header does not say.")
@writing_options
@json_option
def command(
    module: str,
    root: Path | None,
    platform: str,
    target: str,
    engine: Path | None,
    upstream: Path | None,
    architectures: tuple[str, ...],
    fork: bool,
    because: str,
    upgrading: bool,
    base: Path | None,
    copied: str,
    dry_run: bool,
    allow_dirty: bool,
    undo: bool,
    as_json: bool,
) -> None:
    """Copy MODULE of vLLM's models (such as vllm:qwen3) into a plugin: imports, platform swaps, header, registration.

    With --upgrade, MODULE is a file of the plugin, and the vLLM of --engine is merged into it, three ways; conflicts
    are marked, and what else does not fit is listed with what to write instead (exit code 1 while anything is left).
    """
    need(root, "--into", "--into PLUGIN_ROOT")
    if root is None:
        return
    if undo:
        take_back(root, as_json)
        return
    known_platform(platform)
    need(module, "MODULE", "seatrial port vllm:qwen3 --into PLUGIN_ROOT --platform ascend")
    source = engine_source(target, engine)
    options = {"dry_run": dry_run, "allow_dirty": allow_dirty, "quiet": as_json}
    if upgrading:
        need(base, "--base", "--base SRC, the vLLM that the file was copied from")
        if base is None:
            return
        from seatrial.adapter.port.upgrade import upgrade

        merged = upgrade(module, root=root, base=base, engine=source, platform=platform, module=copied, because=because)
        written = write_files(root, {merged.path: merged.text}, f"seatrial port --upgrade {module}", **options)
        verdict = Verdict.FAIL if merged.findings else Verdict.PASS
        if as_json:
            print_json({**to_plain(merged), "written": to_plain(written), "dry_run": dry_run})
        else:
            _show_upgrade(merged)
        leave(verdict)
    from seatrial.adapter.port.run import port

    need(platform, "--platform", "--platform ascend, kunlun, cpu or cuda")
    made = port(
        module,
        upstream=upstream or source,
        engine=source,
        root=root,
        platform=platform,
        architectures=architectures,
        fork=fork,
        because=because,
    )
    written = write_files(root, made.files, f"seatrial port {module}", **options)
    verdict = Verdict.FAIL if errors(made.findings) else Verdict.PASS
    if as_json:
        print_json({**to_plain(made), "written": to_plain(written), "dry_run": dry_run})
    else:
        _show(made)
    leave(verdict)


def _show(made: Port) -> None:
    console = out()
    console.print(f"strategy: {made.strategy.recommended}; forked because {made.strategy.reason}", markup=False)
    absolute = sum(e.kind == "absolute" for e in made.edits)
    console.print(f"{absolute} relative imports made absolute")
    for edit in made.edits:
        if edit.kind in ("swap", "moved", "device"):
            why = f" ({edit.reason})" if edit.reason else ""
            console.print(f"{edit.kind}: {edit.old} -> {edit.new}{why}", markup=False)
    for name, path in made.registered.items():
        console.print(f"registered: {name} as {path}", markup=False)
    print_findings(made.findings)


def _show_upgrade(merged: Upgrade) -> None:
    console = out()
    old = merged.before.version if merged.before is not None else "the base"
    console.print(
        f"{merged.path}: vLLM {old} to {merged.after.version}, {len(merged.conflicts)} conflicts", markup=False
    )
    for edit in merged.edits:
        if edit.kind == "moved":
            console.print(f"moved: {edit.old} -> {edit.new}", markup=False)
    for conflict in merged.conflicts:
        console.print(f"conflict in {conflict.symbol}, lines {conflict.line} to {conflict.end_line}:", markup=False)
        for who, text in (("human", conflict.human), ("upstream, old", conflict.old), ("upstream, new", conflict.new)):
            shown = text.splitlines() or ["(no lines)"]
            console.print(f"  {who}:", markup=False)
            for line in [*shown[:SHOWN], *([f"... {len(shown) - SHOWN} more lines"] if len(shown) > SHOWN else [])]:
                console.print(f"    {line}", markup=False, highlight=False)
    print_findings(merged.findings)
