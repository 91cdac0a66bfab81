"""The program `seatrial`: finds commands by their files, imports one only when it is asked for, owns the exit codes."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

import click

from seatrial import __version__
from seatrial.core.errors import EXIT_TOOL, EXIT_USAGE, SeatrialError, Stopped

HERE = Path(__file__).parent
NOT_COMMANDS = {"__init__", "main", "common"}


def command_files() -> dict[str, Path]:
    """Command name to its file, by name. A file whose name starts with an underscore is a helper of one of them."""
    files = sorted(f for f in HERE.glob("*.py") if f.stem not in NOT_COMMANDS and not f.stem.startswith("_"))
    return {f.stem.replace("_", "-"): f for f in files}


def short_help(file: Path) -> str:
    """The first docstring line of a command's file, read without importing it."""
    with file.open(encoding="utf-8") as stream:
        return stream.readline().strip().strip('"').rstrip()


class LazyGroup(click.Group):
    """A group whose commands are imported on use, so that `--help` costs no import of theirs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(command_files())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in command_files():
            return None
        module = importlib.import_module(f"seatrial.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, short_help(file)) for name, file in command_files().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows or [("(none)", "")])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="seatrial")
def program() -> None:
    """Take a checkpoint to a running, proven model on vLLM with any accelerator plugin, and keep the proof.

    Exit codes: 0 pass, 1 fail, 2 usage, 3 inconclusive, 4 tool or environment error.
    """


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


def entry() -> None:
    """Run the program; the only place that turns exceptions into exit codes."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        code = program.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.stderr.write("stopped\n")
        code = 128 + signal.SIGINT
    except Stopped as exc:
        sys.stderr.write(f"{exc}\n")
        code = 128 + exc.signal_number
    except click.ClickException as exc:
        exc.show()
        code = exc.exit_code
    except SeatrialError as exc:
        sys.stderr.write(f"error: {exc.one_line()}\n")
        code = exc.exit_code
    except BrokenPipeError:
        # The reader of our output went away; there is nobody left to tell.
        sys.stderr.close()
        code = EXIT_TOOL
    except Exception as exc:  # noqa: BLE001 - the outermost edge: a fault of the tool keeps its traceback
        if isinstance(exc, OSError) and exc.errno == errno.ENAMETOOLONG:
            # No file of ours has such a name: it was said on the command line, in any of many places.
            sys.stderr.write(f"error: the name {str(exc.filename)[:60]!r}... is too long for a file. Name another.\n")
            code = EXIT_USAGE
        else:
            traceback.print_exc()
            sys.stderr.write("error: this is a fault of seatrial itself. Please report it with the lines above.\n")
            code = EXIT_TOOL
    sys.exit(code if isinstance(code, int) else 0)
