"""A run's plan against what the same run's engine said: its log, and the parameters and caches of its dry run.

In: the plan, the log's readings, the dry run's account as plain numbers. Out: `PlanCheck`. Judged are figures of
arithmetic alone: weights per rank, bytes of cache per token, and the tokens that the memory which the engine itself
found makes. What hangs on the device's own use of memory is shown with its error and never judged: it calibrates.
"""

from __future__ import annotations

from typing import Any

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_plain
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.dryrun.account import DryAccount
from seatrial.estimate.facts import PlanFacts
from seatrial.estimate.from_log import Comparison, Reading, Readings, compare
from seatrial.estimate.kv_groups import Pool, capacity
from seatrial.estimate.kv_specs import KvCache
from seatrial.estimate.model import altered
from seatrial.estimate.plan import Plan, in_flight


class Range(Record):
    """From `low` to `high`; equal where the figure is exact."""

    low: float
    high: float

    def words(self) -> str:
        ends = [f"{x:,.10g}" for x in dict.fromkeys((self.low, self.high))]
        return " to ".join(ends)


class Row(Record):
    """One figure, as planned and as the engine has it; a printed figure is the range that its rounding leaves.

    `judged`: the plan's arithmetic alone makes it. `source`: whose figure it is, and the log's line.
    """

    what: str
    planned: Range
    reported: Range
    judged: bool
    source: str

    @property
    def holds(self) -> bool:
        """Whether both can be the same figure."""
        return self.planned.low <= self.reported.high and self.reported.low <= self.planned.high


class DrySeen(Record):
    """What the dry run of the same layout found: bytes of the largest rank, and of all layers' caches per token.

    None where it does not say, or for another layout.
    """

    weights: int | None = None
    per_token: float | None = None


class PlanCheck(Record):
    """`log`: every figure of the log beside the plan's, with its error. `gate`: whose log; "" for none."""

    gate: str
    rows: tuple[Row, ...]
    log: tuple[Comparison, ...]
    unknown: tuple[str, ...] = ()
    schema_version: int = 1

    def outcome(self) -> Outcome:
        judged = [r for r in self.rows if r.judged]
        wrong = [r for r in judged if not r.holds]
        if wrong:
            told = (f"{r.what}: planned {r.planned.words()}, {r.source}: {r.reported.words()}" for r in wrong)
            return failed("; ".join(told))
        if not judged:
            return inconclusive("; ".join(self.unknown) or "neither log nor dry run has a figure of the plan's")
        return passed(f"the plan's figures are the engine's: {', '.join(r.what for r in judged)}")


def dry_seen(data: Any, facts: PlanFacts) -> DrySeen:
    """From the facts of a dry run as plain data; nothing where they are none, or of another layout or dtype."""
    try:
        account = from_plain(DryAccount, data, where="facts of the dry run")
    except FileFormatError:
        # A step without facts, or another version's.
        return DrySeen()
    layout = facts.plan.asked.layout
    same = (account.tp, account.pp, account.ep) == (layout.tp, layout.pp, layout.ep) and layout.dp == 1
    if not same or facts.dtype == "F32":
        # The dry run builds in the dtype that the engine takes by itself, which is two bytes wide.
        return DrySeen()
    known = [r.bytes for r in account.weights if r.bytes is not None]
    whole = len(known) == len(account.weights) == layout.tp * layout.pp
    return DrySeen(weights=max(known) if whole and known else None, per_token=_per_token(account, facts.plan))


def _per_token(account: DryAccount, plan: Plan) -> float | None:
    """Bytes of all layers for one token, where every layer's cache grows with the tokens and none failed to say."""
    asked, specs = plan.asked, plan.cache.specs if plan.cache is not None else ()
    if asked.layout.pp > 1 or asked.serving.kv_dtype != "auto":
        return None
    if any(s.kind in ("state", "cross", "ring") or s.role.startswith("draft") for s in specs):
        return None
    lines = [line for line in account.cache if line.spec]
    if not lines or any(line.error for line in account.cache) or any(not line.block_size for line in lines):
        return None
    return sum(line.count * line.page_bytes / line.block_size for line in lines)


def check_plan(plan: Plan, readings: Readings, dry: DrySeen, gate: str) -> PlanCheck:
    """Compare; what cannot be is named."""
    if plan.weights is None or plan.cache is None or plan.pool is None:
        return PlanCheck(gate=gate, rows=(), log=(), unknown=(f"the plan has no figures: {plan.outcome.reason}",))
    unknown: list[str] = []
    rows: list[Row] = []
    weights = float(plan.weights.largest().total())
    if dry.weights is not None:
        row = _exact("weights of the largest rank", weights, dry.weights, "the dry run's parameters")
        # What is split by the tensors' names says of itself that it is no exact figure.
        rows.append(row if plan.weights.exact else altered(row, judged=False))
    if dry.per_token is not None:
        mine = sum(s.content / s.block for s in plan.cache.specs)
        rows.append(_exact("KV cache per token", mine, dry.per_token, "the dry run's cache of every layer"))
    if readings.weights is not None:
        # A loader may repack weights: the log's figure is shown, the dry run's is judged.
        rows.append(
            Row(
                what="weights as loaded", planned=Range(low=weights, high=weights), reported=_range(readings.weights),
                judged=False, source=_line(gate, readings.weights),
            )
        )  # fmt: skip
    if readings.tokens is not None and readings.for_kv is not None:
        rows.append(_tokens(plan, plan.pool, plan.cache, readings.tokens, readings.for_kv, gate))
    elif gate and plan.pool.groups:
        unknown.append(f"the {gate} gate's log does not say of how many bytes and tokens its KV cache is")
    return PlanCheck(gate=gate, rows=tuple(rows), log=compare(readings, plan), unknown=tuple(unknown))


def _tokens(plan: Plan, made: Pool, cache: KvCache, tokens: Reading, memory: Reading, gate: str) -> Row:
    """The tokens of the memory that the launch sets outright, else of the memory that the log prints with decimals."""
    asked = plan.asked
    given = asked.serving.kv_bytes
    ends = [memory.value - memory.rounding, memory.value + memory.rounding] if given is None else [given, given]
    flight = in_flight(asked, plan.rules, asked.layout)
    held = [float(capacity(made, int(end), asked.length, flight, cache, asked.serving).tokens) for end in ends]
    return Row(
        what="KV tokens" if given is not None else "KV tokens of the memory that the engine found",
        planned=Range(low=held[0], high=held[1]), reported=_range(tokens), judged=True, source=_line(gate, tokens),
    )  # fmt: skip


def _exact(what: str, planned: float, reported: float, source: str) -> Row:
    return Row(
        what=what, planned=Range(low=planned, high=planned), reported=Range(low=reported, high=reported), judged=True,
        source=source,
    )  # fmt: skip


def _range(reading: Reading) -> Range:
    return Range(low=reading.value - reading.rounding, high=reading.value + reading.rounding)


def _line(gate: str, reading: Reading) -> str:
    return f"the {gate} gate's log, line {reading.line}"
