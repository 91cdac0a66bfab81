"""Write a model file for an architecture no engine has, or a plugin to hold it.

`seatrial scaffold CHECKPOINT` and `seatrial scaffold plugin NAME` share the name: a first word that is no subcommand is
a checkpoint.
"""

from __future__ import annotations

from pathlib import Path

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
from seatrial.cli.common import err, json_option, leave, out, print_json
from seatrial.core.errors import UsageError
from seatrial.core.record import to_plain
from seatrial.core.verdict import Verdict

DEFAULT = "model"


class _Scaffold(click.Group):
    """A first word that is no subcommand is the CHECKPOINT of `model`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Scaffold)
def command() -> None:
    """Write a model file from a checkpoint's own names (`scaffold CHECKPOINT`), or an empty plugin (`scaffold plugin`).

    `scaffold CHECKPOINT` is short for `scaffold model CHECKPOINT`.
    """


@command.command(DEFAULT)
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("--into", "root", type=RootPath(path_type=Path), help="The plugin's root: where its pyproject.toml is.")
@click.option("--platform", default="cpu", show_default=True, help="cpu, cuda, ascend or kunlun.")
@click.option("--target", default="cpu", show_default=True, help="The target whose vLLM it is written for.")
@click.option("--engine", type=click.Path(path_type=Path), help="This vLLM instead: tree, sdist, wheel, environment.")
@click.option("--base", default="", help="`template`, or an architecture of vLLM to subclass.")
@click.option("--fork", is_flag=True, help="Also where vLLM has a class for the architecture.")
@writing_options
@json_option
def model(
    checkpoint: Path | None,
    root: Path | None,
    platform: str,
    target: str,
    engine: Path | None,
    base: str,
    fork: bool,
    dry_run: bool,
    allow_dirty: bool,
    undo: bool,
    as_json: bool,
) -> None:
    """Write the model file, its registration, a unit test and a tiny checkpoint's maker for CHECKPOINT.

    What the checkpoint does not decide is a marked place that raises: the dry run is red there, and the exit code is 3.
    """
    need(root, "--into", "--into PLUGIN_ROOT (`seatrial scaffold plugin NAME` makes one)")
    if root is None:
        return
    if undo:
        take_back(root, as_json)
        return
    known_platform(platform)
    need(checkpoint, "CHECKPOINT", "seatrial scaffold CHECKPOINT --into PLUGIN_ROOT")
    if checkpoint is None:
        return
    from seatrial.adapter.scaffold.run import scaffold

    made = scaffold(checkpoint, engine_source(target, engine), root, base=base, fork=fork, platform=platform)
    label = f"seatrial scaffold {checkpoint.name}"
    written = write_files(root, made.files, label, dry_run=dry_run, allow_dirty=allow_dirty, quiet=as_json)
    verdict = Verdict.INCONCLUSIVE if made.open else Verdict.PASS
    if as_json:
        print_json({**to_plain(made), "written": to_plain(written), "dry_run": dry_run})
        leave(verdict)
    console = out()
    how: str = made.plan.kind
    if made.plan.relative is not None:
        how = f"{how} of {made.plan.relative.architecture}"
    console.print(f"{made.architecture} as {made.module}: {how}, since {made.plan.because}", markup=False)
    print_findings(made.findings)
    if made.open:
        console.print(f"{made.open} places are open: the dry run is red until they are answered.")
    elif not dry_run:
        console.print(
            f"Install it beside vLLM (pip install --no-deps --no-build-isolation -e {root}), then prove it:\n"
            f"  seatrial dry {checkpoint} --target {target}",
            markup=False,
            soft_wrap=True,
        )
        if any(path.endswith("_mtp.py") for path in made.files):
            console.print(
                f"The same for its draft (MTP):\n  seatrial dry {checkpoint} --target {target} --draft {checkpoint}",
                markup=False,
                soft_wrap=True,
            )
    leave(verdict)


@command.command("plugin")
@click.argument("name", required=False, default="")
@click.option("--into", "root", type=RootPath(path_type=Path), help="Its folder; NAME in this one, if not given.")
@writing_options
@json_option
def plugin(name: str, root: Path | None, dry_run: bool, allow_dirty: bool, undo: bool, as_json: bool) -> None:
    """Write a minimal out-of-tree plugin package NAME for vLLM: entry point, lazy registration, models folder."""
    from seatrial.adapter.scaffold.plugin import plugin_files

    root = root or (Path(name) if name else None)
    need(root, "NAME", "seatrial scaffold plugin vllm-harbour")
    if root is None:
        return
    if undo:
        take_back(root, as_json)
        return
    files = plugin_files(name)
    there = [path for path in files if (root / path).exists()]
    if there:
        raise UsageError(f"{root / there[0]} is there already", mend="Name another folder by --into.")
    label = f"seatrial scaffold plugin {name}"
    written = write_files(root, files, label, dry_run=dry_run, allow_dirty=allow_dirty, quiet=as_json)
    if as_json:
        print_json({"name": name, "root": str(root), "written": to_plain(written), "dry_run": dry_run})
        return
    err().print(f"Next: seatrial scaffold CHECKPOINT --into {root}", style="dim", markup=False)
