"""One variable at a time: the same greedy prompts under a base setting and under each variant, and which one breaks.

In: a checkpoint and a target. Out: a `StepResult` with `MatrixFacts`. Every variant is a start of its own; one that
does not start is `not run` with the gate's reason, never a disagreement. Of one that breaks, milder settings of the
same kind are tried from the mildest on, so that the smallest that breaks is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from seatrial.core.command import Command
from seatrial.core.errors import UsageError
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, replace
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import failed, inconclusive, passed
from seatrial.gates.agree import ROUNDING, Agreement, Greedy, compare, greedy
from seatrial.gates.client import Client
from seatrial.measure.accuracy.serving import Address, during
from seatrial.targets import Target


class Variant(Record):
    """`args` are added, `drop` left out of the target's; `at_once` requests in flight; `twice`: the second asking
    counts (what a prefix cache answers). `cause` is the root-cause class that a disagreement points to. `milder`:
    smaller settings of the same kind, the smallest first.
    """

    name: str
    says: str
    cause: str
    args: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    tp: int | None = None
    at_once: int = 1
    twice: bool = False
    milder: tuple[Variant, ...] = ()


def _chunks(tokens: int, milder: tuple[Variant, ...] = ()) -> Variant:
    return Variant(
        name="chunked" if milder else f"chunked-{tokens}",
        says=f"prompts in chunks of {tokens} tokens",
        cause="KV cache",
        args=("--enable-chunked-prefill", "--max-num-batched-tokens", str(tokens)),
        milder=milder,
    )


def _graph(name: str, says: str, mode: str) -> Variant:
    config = json.dumps({"cudagraph_mode": mode})
    return Variant(name=name, says=says, cause="graph", args=("--compilation-config", config), drop=("enforce-eager",))


def _at_once(count: int, milder: tuple[Variant, ...] = ()) -> Variant:
    return Variant(
        name="batch" if milder else f"batch-{count}",
        says=f"{count} requests at once instead of one",
        cause="kernel",
        at_once=count,
        milder=milder,
    )


VARIANTS = (
    _at_once(8, (_at_once(2), _at_once(4))),
    Variant(
        name="graph",
        says="graph mode instead of eager",
        cause="graph",
        drop=("enforce-eager",),
        milder=(
            _graph("compiled", "compiled, without graphs", "NONE"),
            _graph("piecewise", "graphs of pieces around attention", "PIECEWISE"),
        ),
    ),
    _chunks(32, (_chunks(64),)),
    Variant(
        name="prefix-cache",
        says="the second asking, answered from the prefix cache",
        cause="KV cache",
        args=("--enable-prefix-caching",),
        twice=True,
    ),
    Variant(name="tp2", says="two tensor-parallel ranks instead of one", cause="distributed", tp=2),
    Variant(name="kv-fp8", says="a KV cache of 8-bit floats", cause="KV cache", args=("--kv-cache-dtype", "fp8")),
    Variant(
        name="mtp",
        says="speculative decoding by the checkpoint's own draft layers",
        cause="sampling",
        args=("--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'),
    ),
)


class Cell(Record):
    """`state`: agrees, rounding (near-ties only), breaks, not-run (with the reason).

    `smallest`: of a variant that breaks, the mildest setting of its kind that does too (itself, if none of `milder`).
    """

    variant: Variant
    state: Literal["agrees", "rounding", "breaks", "not-run"]
    reason: str
    agreement: Agreement | None
    smallest: str = ""
    milder: tuple[Cell, ...] = ()


class MatrixFacts(Record):
    checkpoint: str
    cells: tuple[Cell, ...]


def chosen_variants(only: Sequence[str]) -> list[Variant]:
    """Those named, or all; raises UsageError for a name that is none."""
    names = [v.name for v in VARIANTS]
    for name in only:
        if name not in names:
            raise UsageError(f"there is no variant {name!r}", mend=f"Known: {', '.join(names)}.")
    return [v for v in VARIANTS if not only or v.name in only]


def matrix(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    scratch: Path,
    only: Sequence[str] = (),
    max_model_len: int | None = None,
    seen: Callable[[Cell], None] = lambda cell: None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """The base run (one request at a time, no prefix cache) against each variant; `seen` gets each cell as it comes."""
    chosen = chosen_variants(only)
    kept: list[Attachment] = []
    commands: list[Command] = []

    def answers(variant: Variant) -> tuple[list[Greedy], str]:
        def ask(client: Client, _: Address) -> list[Greedy]:
            first = greedy(client, at_once=variant.at_once)
            return greedy(client, at_once=variant.at_once) if variant.twice else first

        extra = () if variant.name == "prefix-cache" else ("--no-enable-prefix-caching",)
        started = during(
            checkpoint,
            target,
            ask,
            python=python,
            scratch=scratch / variant.name,
            tp=variant.tp,
            max_model_len=max_model_len,
            extra_args=(*extra, *variant.args),
            drop=variant.drop,
            say=lambda text: say(f"{variant.name}: {text}"),
        )
        logs = [a for a in started.gate.attachments if a.name == "server.log"]
        kept.extend(replace(a, name=f"server-{variant.name}.log") for a in logs)
        commands.extend(started.gate.commands)
        return (started[0], "") if started else ([], started.gate.outcome.reason or "the server was not asked")

    base, why = answers(Variant(name="base", says="the target's setting, one request at a time", cause=""))
    cells: list[Cell] = []
    for variant in chosen if base else ():
        cell = judge(variant, base, *answers(variant))
        if cell.state == "breaks":
            cell = _narrowed(cell, lambda milder: judge(milder, base, *answers(milder)))
        cells.append(cell)
        seen(cell)
    facts = MatrixFacts(checkpoint=str(checkpoint), cells=tuple(cells))
    if base:
        result = conclude(facts)
    else:
        outcome = inconclusive(f"the base run does not serve: {why}")
        result = StepResult(step="ab", outcome=outcome, summary=why, facts=facts)
    return replace(result, attachments=tuple(kept), commands=tuple(commands))


def _narrowed(cell: Cell, look: Callable[[Variant], Cell]) -> Cell:
    """The cell with the mildest setting of its kind that breaks too; the first that does ends the search."""
    milder: list[Cell] = []
    for variant in cell.variant.milder:
        milder.append(look(variant))
        if milder[-1].state == "breaks":
            break
    broken = [c.variant.name for c in milder if c.state == "breaks"]
    return replace(cell, smallest=broken[0] if broken else cell.variant.name, milder=tuple(milder))


def judge(variant: Variant, base: list[Greedy], mine: list[Greedy], why: str) -> Cell:
    """One cell from the answers of both settings."""
    if not mine:
        return Cell(variant=variant, state="not-run", reason=why, agreement=None)
    agreement = compare("base", variant.name, base, mine)
    if agreement.troubles:
        return Cell(variant=variant, state="not-run", reason="; ".join(agreement.troubles), agreement=agreement)
    wide = agreement.beyond_rounding()
    if wide:
        d = wide[0]
        apart = f"{d.margin:.3f} nats apart" if d.margin is not None else "not among the best five"
        count = f"{len(wide)} of {agreement.prompts} prompts part"
        reason = f"{count}, first at token {d.place} of prompt {d.prompt}: {apart}"
        return Cell(variant=variant, state="breaks", reason=reason, agreement=agreement)
    if agreement.worst_logprob is not None and agreement.worst_logprob > 5 * ROUNDING:
        reason = f"a log-probability differs by {agreement.worst_logprob:.3f}"
        return Cell(variant=variant, state="breaks", reason=reason, agreement=agreement)
    state: Literal["agrees", "rounding"] = "rounding" if agreement.divergences else "agrees"
    return Cell(variant=variant, state=state, reason="", agreement=agreement)


def conclude(facts: MatrixFacts) -> StepResult:
    """A401 for each variant that breaks: alone it is the smallest setting that does."""
    broken = [c for c in facts.cells if c.state == "breaks"]
    missing = [c for c in facts.cells if c.state == "not-run"]
    ran = len(facts.cells) - len(missing)
    found = tuple(
        Finding(
            code="A401",
            severity=Severity.ERROR,
            place=c.variant.name,
            message=f"{c.variant.says}: {c.reason} (class: {c.variant.cause}){_smallest(c)}",
            next_step="This one switch alone breaks it: leave it off, and compare the layers with `accuracy locate`.",
        )
        for c in broken
    )
    summary = f"{ran} variants ran, {len(broken)} break, {len(missing)} could not run"
    if broken:
        outcome = failed(f"{', '.join(c.variant.name for c in broken)} alone breaks agreement: {broken[0].reason}")
    elif not ran:
        outcome = inconclusive("no variant ran: " + "; ".join(f"{c.variant.name}: {c.reason}" for c in missing)[:400])
    elif missing:
        outcome = inconclusive("not run: " + "; ".join(f"{c.variant.name}: {c.reason}" for c in missing)[:400])
    else:
        outcome = passed()
    return StepResult(step="ab", outcome=outcome, summary=summary, facts=facts, findings=found)


def _smallest(cell: Cell) -> str:
    """The words for the mildest setting that breaks; empty where only one was tried."""
    if not cell.milder:
        return ""
    tried = ", ".join(f"{c.variant.name} {c.state}" for c in cell.milder)
    return f"; the smallest that breaks is {cell.smallest} (tried: {tried})"
