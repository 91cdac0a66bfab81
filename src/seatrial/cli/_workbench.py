"""What the commands that write code share: the options of writing, the engine's sources, staging, showing, undoing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatrial.cli.common import out
from seatrial.core.errors import UsageError
from seatrial.core.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seatrial.adapter.writes import Batch
    from seatrial.core.finding import Finding


class RootPath(click.Path):
    """A folder to write under. An empty word (a shell variable that is not set) is no folder, not this one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; a dot is this folder.", param, ctx)
        return super().convert(value, param, ctx)


F = TypeVar("F", bound=Callable[..., Any])


class Written(Record):
    """One line per file for --json: what was done (or, with --dry-run, would be), and the batch that undoes it."""

    path: str
    kind: str


def writing_options(function: F) -> F:
    """--dry-run, --allow-dirty and --undo."""
    for option in (
        click.option("--undo", is_flag=True, help="Take back the last batch of writes under the root, and do no more."),
        click.option("--allow-dirty", is_flag=True, help="Write into a git tree with uncommitted changes."),
        click.option("--dry-run", is_flag=True, help="Show the diff; write nothing."),
    ):
        function = option(function)
    return function


def engine_source(target: str, engine: Path | None) -> Path:
    """The vLLM to read: --engine, else the target's roots.vllm, else its interpreter."""
    if engine is not None:
        return engine
    from seatrial.engine.choose import target_python
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    if chosen.roots.vllm and Path(chosen.roots.vllm).is_dir():
        return Path(chosen.roots.vllm)
    return target_python(chosen)


def known_platform(name: str) -> str:
    """The platform, if there is such a one; "" is left to the caller. Raises UsageError."""
    from seatrial.adapter.port.table import PLATFORMS

    known = (*PLATFORMS, "cpu", "cuda")
    if name and name not in known:
        raise UsageError(f"unknown platform {name!r}", mend=f"Say --platform {', '.join(known[:-1])} or {known[-1]}.")
    return name


def take_back(root: Path, as_json: bool) -> None:
    """Undo the last batch and say what it was."""
    from seatrial.adapter.writes import undo
    from seatrial.cli.common import print_json

    batch = undo(root)
    if as_json:
        print_json(batch)
        return
    console = out()
    console.print(f"undone: {batch.label} of {batch.made_at}", markup=False)
    for change in batch.changes:
        console.print(f"  {change.kind} {change.path}", markup=False)


def write_files(
    root: Path, files: Mapping[str, str], label: str, *, dry_run: bool, allow_dirty: bool, quiet: bool
) -> tuple[Written, ...]:
    """Stage, then show the diff (dry run) or write; prints unless `quiet`. Unchanged files are no writes."""
    from seatrial.adapter.writes import Writes

    writes = Writes(root, label)
    for path, text in files.items():
        writes.put(path, text.encode("utf-8"))
    changes = tuple(Written(path=c.path, kind=c.kind) for c in writes.changes())
    if dry_run:
        if not quiet:
            click.echo(writes.diff(), nl=False)
            click.echo(f"{len(changes)} files would be written; nothing was." if changes else "Nothing to change.")
        return changes
    batch = writes.commit(allow_dirty=allow_dirty)
    if not quiet:
        _list(root, batch)
    return changes


def _list(root: Path, batch: Batch | None) -> None:
    console = out()
    if batch is None:
        console.print("Nothing to change: every file is as it would be written.")
        return
    for change in batch.changes:
        console.print(f"{change.kind:<8} {root / change.path}", markup=False)
    console.print(f"Undo: --undo with the same root (batch {batch.id})", markup=False)


def print_findings(findings: Iterable[Finding]) -> None:
    """Severity, line and next step of each."""
    console = out()
    for finding in findings:
        console.print(f"{finding.severity.value:<8}{finding.one_line()}", markup=False)
        if finding.next_step:
            console.print(f"        {finding.next_step}", markup=False, style="dim")


def need(value: Any, option: str, example: str) -> None:
    """Raises UsageError for an option that is needed here."""
    if not value:
        raise UsageError(f"{option} is missing", mend=f"Say {example}.")
