"""Look for the pitfalls of plugin code: one rule each, from the vendors' manuals and real forks; --fix mends some.

Exit codes: 0 nothing found, 1 something found, 2 usage, 4 tool error; as ruff's. A rule that could not look is listed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import err, out, print_json

if TYPE_CHECKING:
    from seatrial.adapter.lint import Linted, LintReport
    from seatrial.adapter.writes import Batch


# Lines about what was not looked at; --json has all.
SKIPPED = 12


def _codes(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    return [code.strip() for value in values for code in value.split(",") if code.strip()]


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--platform", default="", help="ascend or kunlun; default: by the package's name, else only common rules."
)
@click.option("--engine", type=click.Path(path_type=Path), help="vLLM's source, for the rules that ask it.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="A checkpoint whose architectures the plugin must register."
)
@click.option("--select", multiple=True, callback=_codes, help="Only these codes or prefixes; comma-separated.")
@click.option("--ignore", multiple=True, callback=_codes, help="Not these codes or prefixes; comma-separated.")
@click.option("--since", default="", help="For the sign-off rule: look at commits after this revision.")
@click.option("--fix", is_flag=True, help="Mend what can be mended; the rest is reported.")
@click.option("--diff", "show_diff", is_flag=True, help="Show what --fix would change, and change nothing.")
@click.option("--undo", "take_back", is_flag=True, help="Take back the last --fix under PATH.")
@click.option("--allow-dirty", is_flag=True, help="Fix even if the git tree has uncommitted changes.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="How to print what was found.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules and stop.")
def command(
    path: Path,
    platform: str,
    engine: Path | None,
    checkpoint: Path | None,
    select: list[str],
    ignore: list[str],
    since: str,
    fix: bool,
    show_diff: bool,
    take_back: bool,
    allow_dirty: bool,
    style: str,
    as_json: bool,
    list_rules: bool,
) -> None:
    """Look for the pitfalls of plugin code in the file or folder PATH.

    A line is answered for by `# seatrial: ignore[CODE] reason`; the reason is required. Idle comments are reported.
    """
    from seatrial.adapter.lint import RULES, lint
    from seatrial.core.errors import UsageError

    style = "json" if as_json else style
    if list_rules:
        _list(style)
        return
    if platform and platform not in ("ascend", "kunlun", "cpu", "cuda"):
        raise UsageError(f"unknown platform {platform!r}", mend="Known: ascend, cpu, cuda, kunlun.")
    if take_back:
        _undo(path, style)
        return
    linted = lint(
        path,
        RULES,
        platform=platform,
        engine=engine,
        select=select,
        ignore=ignore,
        since=since,
        checkpoint=checkpoint,
        fix=fix or show_diff,
    )
    batch = _write(linted, allow_dirty, show_diff) if fix or show_diff else None
    _print(linted.report, style, batch)
    raise SystemExit(1 if linted.report.problems else 0)


def _write(linted: Linted, allow_dirty: bool, show_diff: bool) -> Batch | None:
    from seatrial.adapter.writes import Writes

    writes = Writes(Path(linted.report.root), "seatrial lint --fix")
    for name, data in linted.fixed.items():
        writes.put(name, data)
    if show_diff:
        sys.stderr.write(writes.diff())
        return None
    return writes.commit(allow_dirty=allow_dirty)


def _undo(path: Path, style: str) -> None:
    from seatrial.adapter.lint.run import root_of
    from seatrial.adapter.writes import undo

    batch = undo(root_of(path.absolute()))
    if style == "json":
        print_json(batch)
    else:
        out().print(f"taken back: {batch.label}, {len(batch.changes)} files", markup=False)


def _print(report: LintReport, style: str, batch: Batch | None) -> None:
    from seatrial.adapter.lint import RULES, formats

    if style == "json":
        print_json(report)
    elif style == "sarif":
        print_json(formats.sarif(report, RULES))
    elif style == "github":
        sys.stdout.write("".join(f"{text}\n" for text in formats.github(report)))
    else:
        sys.stdout.write("".join(f"{formats.line(problem)}\n" for problem in report.problems))
    note = err()
    if batch is not None:
        for change in batch.changes:
            note.print(f"{change.kind} {change.path}", markup=False)
        note.print(f"{len(batch.changes)} files fixed; `seatrial lint --undo` takes it back", markup=False)
    if style == "text":
        note.print(_summary(report), markup=False)
        for item in report.not_run:
            note.print(f"not run: {item.code}: {item.reason}", markup=False)
        for left in report.skipped[:SKIPPED]:
            note.print(f"not looked at: {left.path}: {left.reason}", markup=False, soft_wrap=True)
        if len(report.skipped) > SKIPPED:
            note.print(f"not looked at: {len(report.skipped) - SKIPPED} more (--json names them)", markup=False)


def _summary(report: LintReport) -> str:
    fixable = sum(bool(p.fix) for p in report.problems)
    count = len(report.problems)
    found = f"{count} problem{'s' * (count != 1)}" if count else "nothing found"
    more = f", {fixable} of them fixable with --fix" if fixable else ""
    answered = f", {len(report.ignored)} answered for by comments" if report.ignored else ""
    platform = report.platform or "no platform"
    return f"{found}{more}{answered}; {len(report.rules)} rules ({platform}) over {report.files} files"


def _list(style: str) -> None:
    from seatrial.adapter.lint import RULES

    if style == "json":
        fields = ("code", "name", "summary", "why", "mend", "platforms", "needs_engine", "off_because", "fixable")
        print_json([{f: getattr(rule, f) for f in fields} for rule in RULES])
        return
    for rule in RULES:
        marks = [*rule.platforms, *(["--engine"] if rule.needs_engine else []), *(["off"] if rule.off_because else [])]
        marks += ["--fix"] if rule.fixable else []
        out().print(
            f"{rule.code} {rule.name}: {rule.summary}" + (f" ({', '.join(marks)})" if marks else ""), markup=False
        )
