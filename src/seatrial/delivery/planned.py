"""The memory that a run's plan predicted, beside what the engine of the same run reported, as a delivery shows it.

In: a run's evidence. Out: `Planned`, or None for a run without a plan. A prediction is no measurement: its figures back
only the column of planned ones, and those of the engine only the other, each in its own row (`backing`).
"""

from __future__ import annotations

from seatrial.core.errors import FileFormatError
from seatrial.core.record import Record, from_json, to_json
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.estimate.check import PlanCheck
from seatrial.estimate.facts import PlanFacts
from seatrial.report.words import count, size

# Key of the row to its label in English and Chinese. Texts and the check of their figures share it.
ROWS = {
    "tensors": ("Parameters of one device", "单卡参数"),
    "weights": ("Weights as loaded", "加载后的权重"),
    "activations": ("Activations", "激活值峰值"),
    "graphs": ("Captured graphs", "图捕获"),
    "runtime": ("Runtime of the device", "设备运行时"),
    "for_kv": ("Memory for the KV cache", "可用于 KV cache 的显存"),
    "per_token": ("KV cache of one token", "每 token 的 KV cache"),
    "tokens": ("KV cache in tokens", "KV cache 容量（token）"),
}
# Columns by what they hold, with their titles in both languages.
COLUMNS = {"planned": ("Planned", "计划值"), "reported": ("Reported by the engine", "引擎报告值")}
# Rows of the check that rest on the dry run, by their name there.
DRY = {"weights of the largest rank": "tensors", "KV cache per token": "per_token"}


class PlannedRow(Record):
    """Bytes of one device, but for `tokens`; None where that side does not say."""

    key: str
    planned: float | None
    reported: float | None

    def label(self, language: str) -> str:
        return ROWS[self.key][language == "zh"]

    def shown(self, column: str) -> str:
        """The figure in words; "" for none."""
        value = self.planned if column == "planned" else self.reported
        return "" if value is None else count(int(value)) if self.key == "tokens" else size(round(value))


class Planned(Record):
    """`verdict` of the check, "" where it did not run; `reason`: why there are no figures."""

    rows: tuple[PlannedRow, ...]
    verdict: str
    gate: str
    reason: str = ""


def planned_of(view: EvidenceView) -> Planned | None:
    """None for a run that has no plan. Rows that neither side knows are left out."""
    stored = view.stored("plan")
    if stored is None:
        return None
    verdict = view.verdict("plan-check") if view.stored("plan-check") is not None else ""
    try:
        facts = from_json(PlanFacts, to_json(view.facts("plan")), where="facts of plan") if view.facts("plan") else None
        data = view.facts("plan-check")
        check = from_json(PlanCheck, to_json(data), where="facts of plan-check") if data else None
    except FileFormatError as exc:
        return Planned(rows=(), verdict=verdict, gate="", reason=exc.message)
    if facts is None or facts.plan.memory is None:
        reason = facts.plan.outcome.reason if facts is not None else stored.outcome.reason
        return Planned(rows=(), verdict=verdict, gate="", reason=reason)
    planned = _planned(facts)
    reported = {c.what: c.reported for c in check.log} if check is not None else {}
    for row in check.rows if check is not None else ():
        if key := DRY.get(row.what):
            planned[key], reported[key] = row.planned.low, row.reported.low
    rows = (PlannedRow(key=k, planned=planned.get(k), reported=reported.get(k)) for k in ROWS)
    known = tuple(r for r in rows if r.planned is not None or r.reported is not None)
    return Planned(rows=known, verdict=verdict, gate=check.gate if check is not None else "")


def _planned(facts: PlanFacts) -> dict[str, float | None]:
    plan = facts.plan
    found: dict[str, float | None] = {}
    if plan.memory is not None:
        found |= {b.name: b.amount.value for b in plan.memory.buckets if b.name in ROWS}
        found["for_kv"] = plan.memory.for_kv
    if plan.capacity is not None:
        found["tokens"] = plan.capacity.tokens
    return found


def backing(planned: Planned | None) -> list[tuple[str, float]]:
    """The figures by the path that only their own row and column name."""
    found = []
    for row in planned.rows if planned is not None else ():
        for column, value in (("planned", row.planned), ("reported", row.reported)):
            if value is not None:
                found.append((f"advice.{column}.{row.key}", float(value)))
    return found


def field_of(column: str, row: str) -> str:
    """The path of the figure in that column and row of our own table; "" elsewhere."""
    name = next((n for n, titles in COLUMNS.items() if column.strip() in titles), "")
    key = next((k for k, labels in ROWS.items() if row.strip() in labels), "")
    return f"advice.{name}.{key}" if name and key else ""
