"""What could be changed so that it fits, cheapest first; each is planned anew, so every effect is a computed one.

In: a plan that does not pass, and what made it. Out: `Change`s in order of cost. Refuses nothing; a layout that the
model
does not divide into is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from seatrial.core.errors import UsageError
from seatrial.core.quantity import Quantity
from seatrial.core.record import Record
from seatrial.estimate.calibrate import Calibration
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Model, altered
from seatrial.estimate.plan import Level, Plan, make_plan

Cost = Literal["none", "prefill speed", "less headroom", "accuracy to be checked", "what is asked for", "more devices"]
MOST_UTILIZATION = 0.95


class Change(Record):
    """One change: the flag as typed, its cost, and what the plan then says."""

    flag: str
    cost: Cost
    level: Level
    requests: int | None
    length: int | None
    devices: int
    why: str


class Setting(Record):
    """What a variant is made of."""

    flag: str
    cost: Cost
    layout: Layout
    serving: Serving
    requests: int
    why: str


def changes(
    model: Model,
    plan: Plan,
    rules: EngineRules,
    device: Quantity,
    most_devices: int,
    *,
    margin_share: float,
    calibration: Calibration,
) -> tuple[Change, ...]:
    """All that help, each alone; those that reach a pass are marked by their level."""
    found: list[Change] = []
    for setting in _settings(model, plan, most_devices):
        try:
            made = make_plan(
                model, setting.layout, setting.serving, rules, device,
                requests=setting.requests, margin_share=margin_share, calibration=calibration,
            )  # fmt: skip
        except UsageError:
            continue
        if made.answer is None or not _better(made, plan):
            continue
        found.append(
            Change(
                flag=setting.flag, cost=setting.cost, level=made.level, requests=made.most.requests,
                length=made.most.length, devices=setting.layout.devices(), why=setting.why,
            )
        )  # fmt: skip
    return tuple(found)


def _better(made: Plan, before: Plan) -> bool:
    order = ("fail", "inconclusive", "risk", "pass")
    if order.index(made.level) != order.index(before.level):
        return order.index(made.level) > order.index(before.level)
    return (made.most.tokens or 0) > (before.most.tokens or 0)


def _settings(model: Model, plan: Plan, most_devices: int) -> Iterator[Setting]:
    asked = plan.asked
    layout, serving = asked.layout, asked.serving

    def setting(flag: str, cost: Cost, why: str, new: Serving | None = None, spread: Layout | None = None) -> Setting:
        return Setting(
            flag=flag, cost=cost, layout=spread or layout, serving=new or serving, requests=asked.requests, why=why
        )

    if asked.batched_tokens > 2048:
        yield setting(
            "--max-num-batched-tokens 2048", "prefill speed", "smaller activations and windows",
            altered(serving, max_num_batched_tokens=2048),
        )  # fmt: skip
    if serving.utilization < MOST_UTILIZATION and serving.kv_bytes is None:
        share = plan.answer.utilization if plan.answer else None
        value = min(MOST_UTILIZATION, round((share or MOST_UTILIZATION) + 0.005, 2))
        if value > serving.utilization:
            yield setting(
                f"--gpu-memory-utilization {value}", "less headroom", "the engine may use more of the device",
                altered(serving, utilization=value),
            )  # fmt: skip
    if plan.cache is not None and plan.cache.dtype == "auto":
        yield setting(
            "--kv-cache-dtype fp8", "accuracy to be checked", "half the cache; the device must support it",
            altered(serving, kv_dtype="fp8"),
        )  # fmt: skip
    yield from _less(plan)
    for tp in (layout.tp * 2, layout.tp * 4, layout.tp * 8):
        if tp * layout.pp * layout.dp <= most_devices:
            yield setting(f"--tensor-parallel-size {tp}", "more devices", "weights and heads split further",
                          spread=altered(layout, tp=tp))  # fmt: skip
    if layout.pp == 1 and layout.tp * 2 <= most_devices:
        yield setting("--pipeline-parallel-size 2", "more devices", "each stage holds half of the layers",
                      spread=altered(layout, pp=2))  # fmt: skip


def _less(plan: Plan) -> Iterator[Setting]:
    """Ask for less: the length or the number that fits, as computed."""
    asked, most = plan.asked, plan.most
    if most.length and most.length < asked.length:
        yield Setting(
            flag=f"--max-model-len {most.length}", cost="what is asked for", layout=asked.layout,
            serving=altered(asked.serving, max_model_len=most.length), requests=asked.requests,
            why=f"the longest context for {asked.requests} at once",
        )  # fmt: skip
    if most.requests and most.requests < asked.requests:
        yield Setting(
            flag=f"--max-num-seqs {most.requests}", cost="what is asked for", layout=asked.layout,
            serving=altered(asked.serving, max_num_seqs=most.requests), requests=most.requests,
            why=f"the most requests of {asked.length} tokens",
        )  # fmt: skip
