"""What several commands share: consoles, the --json option, printing JSON, the exit with a verdict."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seatrial.core.verdict import Verdict, exit_code

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

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
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """The console for progress and notes, on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """One JSON document, indented, on standard output."""
    from seatrial.core.record import to_json

    sys.stdout.write(to_json(document, indent=2).decode() + "\n")


def leave(verdict: Verdict) -> None:
    """End the command with the exit code of its verdict."""
    raise SystemExit(exit_code(verdict))
