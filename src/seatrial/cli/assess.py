"""Say whether a checkpoint can run on a target, by which road, and what has to be done."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json

if TYPE_CHECKING:
    from seatrial.support.assess import Assessment


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", default="cpu", show_default=True, help="The target it shall run on.")
@json_option
def command(checkpoint: Path, target: str, as_json: bool) -> None:
    """Assess CHECKPOINT on a target: the case, the strategy, the work, and a plan of features. Nothing is served."""
    from seatrial.checkpoint import read_card
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.support import SupportFacts, support
    from seatrial.support.assess import assess
    from seatrial.targets import find_overrides, load_target

    chosen = load_target(target, find_overrides(Path.cwd())).target
    card = read_card(checkpoint)
    with tempfile.TemporaryDirectory(prefix="seatrial-assess-") as scratch:
        log = Path(scratch) / "probe.log"
        with ProbeSession(target_python(chosen), log=log, env=chosen.launch.env) as session:
            result = support(
                card.architecture.architectures,
                session=session,
                model_type=card.architecture.model_type or "",
                has_experts=card.feed_forward.moe is not None,
                is_multimodal=card.multimodal is not None,
                remote_code=card.architecture.remote_code is not None,
                timeout_s=float(chosen.limits.probe_s.value or 600),
                progress=None if as_json else lambda line: err().print(line, style="dim"),
            )
    facts = result.facts
    if not isinstance(facts, SupportFacts):
        raise TypeError("the step support gave other facts than its own")
    done = assess(card, facts, result.outcome, chosen, facts.supported)
    if as_json:
        print_json(done)
    else:
        _print(done, result.summary)
    leave(done.outcome.verdict)


def _print(done: Assessment, summary: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = out()
    style = STYLES[done.outcome.verdict]
    reason = f" {done.outcome.reason}" if done.outcome.reason else ""
    console.print(f"[{style}]{done.outcome.verdict.value}[/]{escape(reason)}")
    console.print(escape(summary))
    console.print(f"strategy: {done.strategy}, effort: {done.effort}")
    for line in done.reasons:
        console.print(f"  because {escape(line)}")
    for line in done.work:
        console.print(f"  to do: {escape(line)}")
    for relative in done.relatives:
        console.print(f"  near: {relative.architecture} {relative.score} ({escape(relative.because)})")
    table = Table("feature", "expectation", "why")
    for feature in done.features:
        table.add_row(feature.name, feature.expectation, escape(feature.reason))
    console.print(table)
