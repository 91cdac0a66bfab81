"""One variable at a time: the same greedy prompts under a base setting and under each variant, and which one breaks.

In: a checkpoint and a target. Out: a `StepResult` with `MatrixFacts`. Every variant is a start of its own; one that
does not start is `not run` with the gate's reason, never a disagreement. One that parts by no more than a coarse format
might is asked again in float32, together with the base: where rounding is gone, only a fault is left. Of one that
breaks, milder settings of the same kind are tried from the mildest on, so that the smallest that breaks is named.
A little over 250 lines: the matrix, what one cell means, and what all together say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seatrial.core.command import Command
from seatrial.core.finding import Finding, Severity
from seatrial.core.record import Record, replace
from seatrial.core.step import Attachment, StepResult
from seatrial.core.verdict import failed, inconclusive, passed
from seatrial.gates.agree import ANSWER, Agreement, Greedy, compare, greedy
from seatrial.gates.client import Client
from seatrial.measure.accuracy.ab_variants import LENGTHS, State, Variant, chosen_variants
from seatrial.measure.accuracy.sampled import Sampled, leaking, next_step, off_best, told
from seatrial.measure.accuracy.serving import Address, during
from seatrial.targets import Target

BASE = Variant(name="base", says="the target's setting, one request at a time", cause="")
# A place where either side preferred its token by no more than this (nats) may be rounding that added up over the
# layers of a model in bfloat16. What logits of such a size round to at once is `Agreement.rounding`.
DOUBTFUL = 0.5
EXACT = ("--dtype", "float32")


class Cell(Record):
    """`state`: agrees, rounding (near-ties only), differs (as a lossy setting may), breaks, not-run (with the reason).

    `exact`: the same two settings in float32, where what they parted by left it open whether that is rounding.
    `sampled`: its answers whose token is not the engine's own best, where those of the base setting all are.
    `smallest`: of a variant that breaks, the mildest setting of its kind that does too (itself, if none of `milder`).
    """

    variant: Variant
    state: State
    reason: str
    agreement: Agreement | None
    smallest: str = ""
    milder: tuple[Cell, ...] = ()
    exact: Agreement | None = None
    sampled: tuple[Sampled, ...] = ()

    @property
    def cause(self) -> str:
        """The root-cause class: the variant's, unless its tokens are not the best of its own logits."""
        return "sampling" if self.sampled else self.variant.cause


class MatrixFacts(Record):
    """`sampled`: answers of the base setting whose token is not the engine's own best; `defaults`: what the
    checkpoint's generation_config has a server do to greedy requests.
    """

    checkpoint: str
    cells: tuple[Cell, ...]
    sampled: tuple[Sampled, ...] = ()
    defaults: tuple[str, ...] = ()


def matrix(
    checkpoint: Path,
    target: Target,
    *,
    python: Path,
    scratch: Path,
    only: Sequence[str] = (),
    max_model_len: int | None = None,
    args: Sequence[str] = (),
    seen: Callable[[Cell], None] = lambda cell: None,
    say: Callable[[str], None] = lambda text: None,
) -> StepResult:
    """The base run (one request at a time, no prefix cache) against each variant; `seen` gets each cell as it comes.

    `args`: further arguments for every server, the base's too.
    """
    chosen = chosen_variants(only)
    in_base: dict[str, float | None] = {}
    kept: list[Attachment] = []
    commands: list[Command] = []

    def answers(variant: Variant, dtype: Sequence[str] = ()) -> tuple[list[Greedy], str]:
        def ask(client: Client, _: Address) -> tuple[list[Greedy], str]:
            lengths = _lengths(client)
            # The base counts for all of them, so that a variant can be held against it.
            counters = {variant.counter} if variant.counter else {v.counter for v in chosen}
            before = {c: client.number(c) or 0.0 for c in counters if c}
            found = greedy(client, at_once=variant.at_once, lengths=lengths)
            if variant.twice:
                found = greedy(client, at_once=variant.at_once, lengths=lengths)
            rose = {c: None if (n := client.number(c)) is None else n - before[c] for c in before}
            if variant is BASE:
                in_base.update(rose)
                return found, ""
            return found, _idle(variant, rose.get(variant.counter), in_base.get(variant.counter))

        extra = () if variant.name == "prefix-cache" else ("--no-enable-prefix-caching",)
        started = during(
            checkpoint,
            target,
            ask,
            python=python,
            scratch=scratch / (f"{variant.name}-float32" if dtype else variant.name),
            tp=variant.tp,
            max_model_len=max_model_len,
            extra_args=(*args, *extra, *variant.args, *dtype),
            drop=variant.drop,
            say=lambda text: say(f"{variant.name}{' in float32' if dtype else ''}: {text}"),
        )
        logs = [a for a in started.gate.attachments if a.name == "server.log"]
        kept.extend(replace(a, name=f"server-{variant.name}{'-float32' if dtype else ''}.log") for a in logs)
        commands.extend(started.gate.commands)
        if not started:
            return [], started.gate.outcome.reason or "the server was not asked"
        found, why = started[0]
        return ([], why) if why else (found, "")

    exact_base: list[tuple[list[Greedy], str]] = []

    def exactly(cell: Cell) -> Cell:
        if not exact_base:
            exact_base.append(answers(BASE, EXACT))
        there, trouble = exact_base[0]
        return arbitrated(cell, there, *(answers(cell.variant, EXACT) if there else ([], trouble)))

    base, why = answers(BASE)
    own = chosen_otherwise(base)
    cells: list[Cell] = []
    for variant in chosen if base else ():
        mine, trouble = answers(variant)
        cell = judge(variant, base, mine, trouble)
        if not own:
            cell = replace(cell, sampled=chosen_otherwise(mine))
        if doubtful(cell):
            cell = exactly(cell)
        if cell.state == "breaks":
            cell = _narrowed(cell, lambda milder: judge(milder, base, *answers(milder)))
        cells.append(cell)
        seen(cell)
    facts = MatrixFacts(
        checkpoint=str(checkpoint), cells=tuple(cells), sampled=own, defaults=leaking(checkpoint) if own else ()
    )
    if base:
        result = conclude(facts)
    else:
        outcome = inconclusive(f"the base run does not serve: {why}")
        result = StepResult(step="ab", outcome=outcome, summary=why, facts=facts)
    return replace(result, attachments=tuple(kept), commands=tuple(commands))


def _lengths(client: Client) -> tuple[int, ...]:
    """LENGTHS, cut to what the server takes."""
    document = client.get("/v1/models").json()
    models = document.get("data") if isinstance(document, dict) else None
    most = (
        models[0].get("max_model_len") if isinstance(models, list) and models and isinstance(models[0], dict) else None
    )
    room = most - ANSWER - 1 if isinstance(most, int) else max(LENGTHS)
    return tuple(max(1, min(n, room)) for n in LENGTHS)


def _idle(variant: Variant, rose: float | None, in_base: float | None) -> str:
    """Why the setting did nothing, as the server's own counter says; empty if it worked or has no counter."""
    if not variant.counter:
        return ""
    if rose is None or (variant.above_base and in_base is None):
        return f"the server does not count {variant.counter}: whether the setting worked is unknown"
    if variant.above_base and rose <= (in_base or 0.0):
        return f"{variant.counter} rose by {rose:g}, in the base run by {in_base:g}: the setting did nothing"
    return "" if rose > 0 else f"{variant.counter} did not rise: the setting did nothing"


def _narrowed(cell: Cell, look: Callable[[Variant], Cell]) -> Cell:
    """The cell with the mildest setting of its kind that breaks too; the first that does ends the search."""
    milder: list[Cell] = []
    for variant in cell.variant.milder:
        milder.append(look(variant))
        if milder[-1].state == "breaks":
            break
    broken = [c.variant.name for c in milder if c.state == "breaks"]
    return replace(cell, smallest=broken[0] if broken else cell.variant.name, milder=tuple(milder))


def chosen_otherwise(answers: list[Greedy]) -> tuple[Sampled, ...]:
    """Where greedy answers do not take the best token of their own logits."""
    seen = (off_best(a.tokens, a.top, n) for n, a in enumerate(answers))
    return tuple(s for s in seen if s is not None)


def judge(variant: Variant, base: list[Greedy], mine: list[Greedy], why: str) -> Cell:
    """One cell from the answers of both settings."""
    if not mine:
        return Cell(variant=variant, state="not-run", reason=why, agreement=None)
    return cell_of(variant, compare("base", variant.name, base, mine))


def cell_of(variant: Variant, agreement: Agreement) -> Cell:
    """One cell from the comparison of its answers with the base's."""
    if agreement.troubles:
        return Cell(variant=variant, state="not-run", reason="; ".join(agreement.troubles), agreement=agreement)
    wide = agreement.beyond_rounding()
    if variant.lossy and (wide or agreement.divergences):
        return _lossy(variant, agreement)
    if wide:
        d = wide[0]
        seen = [m for m in (d.margin, d.other_margin) if m is not None]
        # Either side may be the sure one.
        apart = f"{max(seen):.3f} nats apart" if len(seen) == 2 else "not among the best five"
        count = f"{len(wide)} of {agreement.prompts} prompts part"
        reason = f"{count}, first at token {d.place} of prompt {d.prompt}: {apart}"
        return Cell(variant=variant, state="breaks", reason=reason, agreement=agreement)
    if agreement.worst_logprob is not None and agreement.worst_logprob > 5 * agreement.rounding:
        reason = f"a log-probability differs by {agreement.worst_logprob:.3f}"
        return Cell(variant=variant, state="breaks", reason=reason, agreement=agreement)
    state: State = "rounding" if agreement.divergences else "agrees"
    return Cell(variant=variant, state=state, reason="", agreement=agreement)


def doubtful(cell: Cell) -> bool:
    """Does it break by so little that rounding in a coarse format might have added up to it?"""
    seen = cell.agreement
    if cell.state != "breaks" or seen is None or not seen.step or not seen.divergences:
        return False
    margins = [m for d in seen.divergences for m in (d.margin, d.other_margin)]
    return all(m is not None and m <= DOUBTFUL for m in margins)


def arbitrated(cell: Cell, base: list[Greedy], mine: list[Greedy], why: str) -> Cell:
    """The cell after both settings answered in float32: what agrees there has parted by rounding before."""
    return settled(cell, judge(cell.variant, base, mine, why))


def settled(cell: Cell, exact: Cell) -> Cell:
    """The cell with what became of the same two settings in float32."""
    if exact.state == "not-run":
        return replace(cell, reason=f"{cell.reason}; whether in float32 too could not be asked: {exact.reason}")
    if exact.state in ("agrees", "rounding"):
        reason = f"{cell.reason}; in float32 they agree, so it is rounding of the format"
        return replace(cell, state="rounding", reason=reason, exact=exact.agreement)
    return replace(cell, reason=f"{cell.reason}; in float32 too: {exact.reason}", exact=exact.agreement)


def _lossy(variant: Variant, agreement: Agreement) -> Cell:
    """A setting that rounds by design differs; it breaks if its tokens are mostly not even among the base's best."""
    foreign = [d for d in agreement.divergences if d.margin is None]
    parted = f"{len(agreement.divergences)} of {agreement.prompts} prompts part"
    if 2 * len(foreign) > agreement.prompts:
        reason = f"{parted}, {len(foreign)} at a token that is not among the base's best five"
        return Cell(variant=variant, state="breaks", reason=reason, agreement=agreement)
    most = max((d.margin for d in agreement.divergences if d.margin is not None), default=0.0)
    reason = f"{parted}, up to {most:.3f} nats apart, as a setting that rounds may; scores of a data set decide"
    return Cell(variant=variant, state="differs", reason=reason, agreement=agreement)


def conclude(facts: MatrixFacts) -> StepResult:
    """A401 for each variant that breaks: alone it is the smallest setting that does. A403: the base is not greedy."""
    broken = [c for c in facts.cells if c.state == "breaks"]
    missing = [c for c in facts.cells if c.state == "not-run"]
    differing = [c for c in facts.cells if c.state == "differs"]
    ran = len(facts.cells) - len(missing)
    found = tuple(
        Finding(
            code="A401",
            severity=Severity.ERROR,
            place=c.variant.name,
            message=f"{c.variant.says}: {c.reason} (class: {c.cause}){_smallest(c)}"
            + (f"; {told(c.sampled, c.agreement.prompts)}" if c.sampled and c.agreement is not None else ""),
            next_step=next_step()
            if c.sampled
            else "This one switch alone breaks it: leave it off, and compare the layers with `accuracy locate`.",
        )
        for c in broken
    )
    found += tuple(
        Finding(
            code="A402",
            severity=Severity.WARNING,
            place=c.variant.name,
            message=f"{c.variant.says}: {c.reason}",
            next_step="Run the same data set with and without it, and compare: seatrial accuracy compare A B.",
        )
        for c in differing
    )
    summary = f"{ran} variants ran, {len(broken)} break, {len(missing)} could not run"
    if facts.sampled:
        said = f"in the base setting {told(facts.sampled, len(LENGTHS), facts.defaults)} (class: sampling)"
        mend = next_step(facts.defaults)
        found = (Finding(code="A403", severity=Severity.ERROR, place="base", message=said, next_step=mend), *found)
        outcome = failed(said)
    elif broken:
        outcome = failed(f"{', '.join(c.variant.name for c in broken)} alone breaks agreement: {broken[0].reason}")
    elif not ran:
        outcome = inconclusive("no variant ran: " + "; ".join(f"{c.variant.name}: {c.reason}" for c in missing)[:400])
    elif missing:
        outcome = inconclusive("not run: " + "; ".join(f"{c.variant.name}: {c.reason}" for c in missing)[:400])
    elif differing:
        outcome = inconclusive("; ".join(f"{c.variant.name}: {c.reason}" for c in differing)[:400])
    else:
        outcome = passed()
    return StepResult(step="ab", outcome=outcome, summary=summary, facts=facts, findings=found)


def _smallest(cell: Cell) -> str:
    """The words for the mildest setting that breaks; empty where only one was tried."""
    if not cell.milder:
        return ""
    tried = ", ".join(f"{c.variant.name} {c.state}" for c in cell.milder)
    return f"; the smallest that breaks is {cell.smallest} (tried: {tried})"
