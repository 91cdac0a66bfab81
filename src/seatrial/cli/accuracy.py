"""Does the model answer as the reference does, how well, and where does it part?"""

from __future__ import annotations

from pathlib import Path

import click

from seatrial.cli._accuracy_common import rung, workspace_option
from seatrial.cli._accuracy_ladder import import_, run
from seatrial.cli._accuracy_reference import locate, parity
from seatrial.cli._accuracy_settings import ab, bisect
from seatrial.cli._accuracy_show import compare_lines, show
from seatrial.cli.common import FiniteRange, json_option, leave, out, print_json


@click.group()
def command() -> None:
    """From one readable answer to a verdict that can be quoted, and from garbled output to the module that broke it."""


for _part in (parity, locate, run, import_, ab, bisect):
    command.add_command(_part)


@command.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("--alpha", default=0.05, show_default=True, type=FiniteRange(0.0001, 0.5))
@workspace_option
@json_option
def compare_(first: str, second: str, alpha: float, workspace: Path, as_json: bool) -> None:
    """Two runs over the same questions: McNemar's exact test, subsets, and what kind of failure each change is.

    FIRST and SECOND are runs of the workspace, or folders with the five files.
    """
    from seatrial.measure.accuracy.compare import compare

    show(compare(rung(first, workspace), rung(second, workspace), alpha=alpha), as_json, compare_lines)


@command.command()
@click.argument("run_")
@click.option("--expected", required=True, type=FiniteRange(), help="The value that the repository's test holds.")
@click.option("--metric", help="Which score of the run, if it has several.")
@click.option("--rule", default="lm-eval", show_default=True, help="lm-eval, reward-model or asr.")
@click.option("--tolerance", type=FiniteRange(min=0), help="Instead of the rule's own.")
@workspace_option
@json_option
def check(
    run_: str,
    expected: float,
    metric: str | None,
    rule: str,
    tolerance: float | None,
    workspace: Path,
    as_json: bool,
) -> None:
    """Would the receiving repository's test accept the score of RUN (a run, or a folder with the five files)?"""
    from seatrial.core.errors import UsageError
    from seatrial.core.verdict import Verdict, inconclusive
    from seatrial.measure.accuracy.tolerance import judge

    found = rung(run_, workspace)
    scores = [s for s in found.score.scores if metric in (None, s.metric)]
    if len(scores) != 1:
        known = ", ".join(s.metric for s in found.score.scores) or f"none ({found.score.reason})"
        raise UsageError(f"--metric must name one score of {run_}", mend=f"There are: {known}.")
    outcome = judge(scores[0].value, expected, rule, tolerance)
    if outcome.verdict is Verdict.PASS and not scores[0].complete:
        outcome = inconclusive(f"{outcome.reason}, but the run is partial: {scores[0].partial_reason}")
    if as_json:
        print_json({"outcome": outcome, "score": scores[0], "conclusive": scores[0].conclusive})
    else:
        note = "" if scores[0].conclusive else f" (a run of {scores[0].level}, not the whole task)"
        out().print(f"{outcome.verdict.value}: {outcome.reason}{note}", markup=False)
    leave(outcome.verdict)
