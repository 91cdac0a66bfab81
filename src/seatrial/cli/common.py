"""What several commands share: consoles, the --json option, printing JSON, the exit with a verdict."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatrial.core.verdict import Verdict, exit_code

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])

# Control characters but for the tab and the end of a line.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
STYLES = {
    Verdict.PASS: "bold green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.NOT_APPLICABLE: "dim",
}


def json_option(function: F) -> F:
    """Adds `--json` as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")(function)


class FiniteRange(click.FloatRange):
    """A range that not-a-number and infinity are outside of; click lets NaN through every bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def out() -> Console:
    """The console for results; plain text when standard output is not a terminal."""
    return _console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """The console for progress and notes, on standard error."""
    return _console(stderr=True, highlight=False)


def _console(**options: Any) -> Console:
    """Names and texts from checkpoints, logs and records are shown, and give a terminal no orders."""
    from rich.console import Console

    class Shown(Console):
        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(CONTROL.sub(lambda m: f"\\x{ord(m[0]):02x}", text), **how)

    return Shown(**options)


def print_json(document: Any) -> None:
    """One JSON document, indented, on standard output."""
    from seatrial.core.record import to_json

    sys.stdout.write(to_json(document, indent=2).decode() + "\n")


def leave(verdict: Verdict) -> None:
    """End the command with the exit code of its verdict."""
    raise SystemExit(exit_code(verdict))
