"""Find the first cause and the next command in any serving log."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from seatrial.cli.common import json_option, out, print_json
from seatrial.core.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, UsageError

if TYPE_CHECKING:
    from seatrial.triage import Diagnosis


class DefaultGroup(click.Group):
    """`triage FILE` is `triage logs FILE`; a log that is named like a subcommand is reached as ./NAME."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in {"-h", "--help"}:
            args.insert(0, "logs")
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Find the first cause and the next command in any serving log.

    seatrial triage LOG... [--json] [--bundle FILE]: files, folders, .gz/.bz2/.xz/.zst, or - for standard input.
    Exit code 1: a cause was found; 3: unknown; 0: nothing in the log looks like a failure.
    """


@command.command("logs")
@click.argument("logs", nargs=-1, required=True)
@click.option("--bundle", type=click.Path(dir_okay=False, path_type=Path), help="Also write an archive for an issue.")
@click.option("--command", "launched", default="", help="The command that was run, for the bundle.")
@click.option("--exit", "exits", multiple=True, metavar="PROCESS=CODE", help="An exit code you know (-9, 137, ...).")
@click.option(
    "--workspace",
    default=".",
    type=click.Path(path_type=Path),
    show_default=True,
    help="The folder of .seatrial, whose runs are searched for the same failure.",
)
@json_option
def logs_command(
    logs: tuple[str, ...], bundle: Path | None, launched: str, exits: tuple[str, ...], workspace: Path, as_json: bool
) -> None:
    """Triage one failure from its logs (the word `logs` may be left out)."""
    from seatrial.triage import diagnose
    from seatrial.triage.bundle import write_bundle
    from seatrial.triage.read import LogFile, open_pipe

    with tempfile.TemporaryDirectory(prefix="seatrial-triage-") as folder:
        kept: dict[str, Path] = {}
        sources: list[str | Path | LogFile | IO[bytes]] = []
        for number, log in enumerate(logs):
            if log != "-" and not Path(log).is_fifo():
                sources.append(log)
            elif bundle is None:
                sources.append(sys.stdin.buffer if log == "-" else log)
            elif log not in kept:
                # A stream is gone once it is read, and the archive holds the raw log: keep it while we work.
                kept[log] = Path(folder) / str(number)
                with sys.stdin.buffer if log == "-" else open_pipe(Path(log)) as stream, kept[log].open("wb") as file:
                    shutil.copyfileobj(stream, file, 1 << 20)
                sources.append(LogFile(log, kept[log]))
        answer = diagnose(sources, exit_codes=dict(_exit(e) for e in exits), hashed=bundle is not None)
        written = write_bundle(bundle, answer, launched, kept=kept) if bundle is not None else None
    answer = _with_past(answer, workspace)
    if as_json:
        print_json(answer)
    else:
        show(answer)
        if written is not None:
            out().print(
                f"bundle: {written.path} ({written.files} files, {written.redacted} values redacted)", markup=False
            )
    raise SystemExit(EXIT_PASS if answer.healthy else EXIT_INCONCLUSIVE if answer.category == "unknown" else EXIT_FAIL)


def _with_past(answer: Diagnosis, base: Path) -> Diagnosis:
    """The answer with what the workspace's runs know, where there is a failure and a workspace."""
    from seatrial.core.record import replace
    from seatrial.evidence import open_workspace

    workspace = open_workspace(base, write=False)
    if answer.healthy or not workspace.runs_folder.is_dir():
        return answer
    from seatrial.cli._past_incidents import past

    return replace(answer, past=past(answer, workspace))


def _exit(text: str) -> tuple[str, int]:
    name, _, code = text.rpartition("=")
    try:
        return name or "process", int(code)
    except ValueError:
        raise UsageError(f"--exit {text!r} is not PROCESS=CODE", mend="For example: --exit worker=-9") from None


def show(answer: Diagnosis) -> None:
    """One screen; more of it where nobody looks at one."""
    from seatrial.cli._triage_view import HEAD, rows

    console = out()
    for row in rows(answer, console):
        console.print(f"[bold]{row.head:<{HEAD}}[/bold]", end="")
        console.print(row.text, style=row.style, markup=False, soft_wrap=True)


@command.command("signatures")
@click.option("--check", "target", metavar="TARGET_OR_FOLDER", help="Test the texts against installed sources.")
@json_option
def signatures_command(target: str | None, as_json: bool) -> None:
    """List the signatures; --check marks those whose text the installed engine no longer has.

    Exit code with --check: 1 if a text is stale, 3 if none of the texts is in these sources.
    """
    from seatrial.triage import library

    if target is not None:
        _check(target, as_json)
        return
    if as_json:
        print_json(library().signatures)
        return
    for s in library().signatures:
        out().print(f"{s.id:<28}{s.kind.value:<12}{s.category:<28}{s.cause[:90]}", markup=False)


def _check(target: str, as_json: bool) -> None:
    from seatrial.triage.liveness import check, roots_of_target

    folders = [Path(target)] if Path(target).is_dir() else roots_of_target(target)
    report = check(folders)
    if as_json:
        print_json(report)
    else:
        for row in report.rows:
            if row.state != "live":
                out().print(f"{row.state:<10}{row.signature:<30}{row.note}", markup=False)
        out().print(
            f"{report.live} live, {report.stale} stale, {report.outside} not in these sources "
            f"({report.files} files of {', '.join(report.packages) or 'no known package'})",
            markup=False,
        )
    raise SystemExit(EXIT_INCONCLUSIVE if not report.live else EXIT_FAIL if report.stale else EXIT_PASS)


@command.command("learn")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--category", required=True, help="A name of the category list.")
@click.option("--cause", required=True, help="What was wrong, in one sentence.")
@click.option("--fix", required=True, help="The command or change that mended it.")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), default=Path(".seatrial/triage"), show_default=True
)
def learn_command(log: Path, category: str, cause: str, fix: str, into: Path) -> None:
    """Write a candidate signature with a failing test from a log that nobody knew."""
    from seatrial.triage.learn import learn

    made = learn(log, category=category, cause=cause, fix=fix, into=into)
    out().print(f"candidate: {made.signature_file}\ntest:      {made.test_file}", markup=False)
    out().print("Review both; then move the signature into its family under triage/signatures/.", markup=False)
