"""Say whether a checkpoint can run on a target, by which road, and what has to be done."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from seatrial.cli.common import STYLES, err, json_option, leave, out, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from seatrial.checkpoint import Card
    from seatrial.core.step import StepResult
    from seatrial.support.assess import Assessment
    from seatrial.support.feature import Feature as Planned
    from seatrial.targets import Target


class _Asked(NamedTuple):
    result: StepResult
    source: Path | None
    plugins: tuple[Path, ...]


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", default="cpu", show_default=True, help="The target it shall run on.")
@click.option("--engine", type=click.Path(path_type=Path), help="Ask no engine: read this vLLM's sources instead.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(path_type=Path), help="A plugin's sources.")
@json_option
def command(checkpoint: Path, target: str, engine: Path | None, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Assess CHECKPOINT on a target: the case, the strategy, the work, and a plan of features. Nothing is served.

    With --engine, or where the target's interpreter cannot answer and its roots name the sources, the registry is read
    from the sources; what only an engine knows then stays open, and the verdict is inconclusive at best.
    """
    from seatrial.checkpoint import read_card
    from seatrial.core.errors import SeatrialError, UsageError
    from seatrial.core.record import replace
    from seatrial.support import SupportFacts
    from seatrial.support.assess import assess
    from seatrial.support.by_source import relatives_of
    from seatrial.targets import find_overrides, load_target

    if plugins and engine is None:
        raise UsageError("--plugin is read together with --engine", mend="Name vLLM's sources by --engine.")
    chosen = load_target(target, find_overrides(Path.cwd())).target
    card = read_card(checkpoint)
    note = err()
    result, source, beside = _support(
        card, chosen, engine, plugins, lambda line: None if as_json else note.print(line, style="dim", markup=False)
    )
    facts = result.facts
    if not isinstance(facts, SupportFacts):
        raise TypeError("the step support gave other facts than its own")
    relatives = None
    if not any(s.class_path for s in facts.states) and facts.architectures and source is not None:
        try:
            relatives = relatives_of(card, source, beside)
        except SeatrialError as exc:
            note.print(f"relatives by name alone: {exc.one_line()}", style="dim", markup=False)
    done = assess(card, facts, result.outcome, chosen, relatives)
    done = replace(done, features=(*done.features, *_tried_by_gates(checkpoint, chosen, facts.vllm_version)))
    if as_json:
        print_json(done)
    else:
        _print(done, result.summary)
    leave(done.outcome.verdict)


# Features that the assessment itself judges, by their names in the matrix.
JUDGED = {"pipeline-parallel", "lora", "multimodal", "mtp", "expert-parallel", "quantisation", "tensor-parallel"}


def _tried_by_gates(checkpoint: Path, chosen: Target, vllm_version: str) -> list[Planned]:
    """The other features of the matrix: which do not apply, and which the gates will try."""
    from seatrial.gates.features import features
    from seatrial.gates.features.base import Situation
    from seatrial.gates.plan import read_model
    from seatrial.support.feature import Feature as Planned

    model = read_model(checkpoint)
    situation = Situation(
        platform=chosen.platform,
        vllm_version=vllm_version,
        plugin_version="",
        tp=int(chosen.serve.args.get("tensor-parallel-size", 1)),
        max_model_len=int(chosen.serve.args["max-model-len"]) if "max-model-len" in chosen.serve.args else None,
        devices=int(chosen.devices.count.value or 1),
        eager=bool(chosen.serve.args.get("enforce-eager")),
    )
    plan = []
    for feature in features().values():
        if feature.name in JUDGED:
            continue
        why = feature.not_applicable(model, situation)
        missing = feature.missing(model)
        skipped = feature.not_attempted(model, situation)
        if why:
            plan.append(Planned(name=feature.name, expectation="not-applicable", reason=why))
        elif missing:
            plan.append(Planned(name=feature.name, expectation="checkpoint-missing", reason=missing))
        else:
            reason = f"not tried here: {skipped}" if skipped else "nothing read speaks against it; `features` tries it"
            plan.append(Planned(name=feature.name, expectation="unknown", reason=reason))
    return plan


def _support(
    card: Card, chosen: Target, engine: Path | None, plugins: tuple[Path, ...], progress: Callable[[str], None]
) -> _Asked:
    """The step's result and the sources of the engine that it speaks of (None: not known)."""
    from seatrial.core.errors import EngineError
    from seatrial.engine.border import ProbeSession
    from seatrial.engine.choose import target_python
    from seatrial.platforms.stubs import load_stubs, local_root
    from seatrial.support import SupportFacts, support
    from seatrial.support.by_source import support_by_source

    if engine is not None:
        return _Asked(support_by_source(card, engine, plugins, "--engine was given"), engine, plugins)
    roots = [Path(r) for r in (chosen.roots.vllm, chosen.roots.plugin) if r]
    readable = bool(chosen.roots.vllm) and all(r.is_dir() for r in roots)
    try:
        python = target_python(chosen)
    except EngineError as exc:
        if not readable:
            raise
        return _Asked(support_by_source(card, roots[0], roots[1:], exc.message), roots[0], tuple(roots[1:]))
    with tempfile.TemporaryDirectory(prefix="seatrial-assess-") as scratch:
        log = Path(scratch) / "probe.log"
        with ProbeSession(python, log=log, env=chosen.launch.env) as session:
            result = support(
                card.architecture.architectures,
                session=session,
                model_type=card.architecture.model_type or "",
                has_experts=card.feed_forward.moe is not None,
                is_multimodal=card.multimodal is not None,
                remote_code=card.architecture.remote_code is not None,
                stubs=load_stubs(chosen.platform, chosen.lineage),
                plugin_root=local_root(chosen.roots.plugin),
                timeout_s=float(chosen.limits.probe_s.value or 600),
                progress=progress,
            )
    if isinstance(result.facts, SupportFacts) and result.facts.road == "unknown" and readable:
        why = result.outcome.reason
        return _Asked(support_by_source(card, roots[0], roots[1:], why), roots[0], tuple(roots[1:]))
    return _Asked(result, python, ())


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
