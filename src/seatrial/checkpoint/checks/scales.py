"""fp8 weights and their scales: each weight has one, each scale a weight, and blocks as many as the sizes need."""

from __future__ import annotations

from seatrial.checkpoint.checks.facts import Facts
from seatrial.checkpoint.codes import note
from seatrial.checkpoint.dtypes import FP8
from seatrial.checkpoint.model_codes import SCALE_ALONE, SCALE_SHAPE, WEIGHT_UNSCALED
from seatrial.checkpoint.names import Group, fill
from seatrial.core.finding import Finding

NAMED = 5
# Scales that belong to a weight (not to inputs or the KV cache).
ENDINGS = ("_scale_inv", "_scale", "_scale_2")


def check(facts: Facts) -> list[Finding]:
    """Pair by pattern, then by the numbers in the names."""
    groups = {group.pattern: group for _, group in facts.groups}
    found: list[Finding] = []
    if facts.known == "headers":
        for group in groups.values():
            if FP8 & {dtype for dtype, _ in group.kinds} and not group.pattern.endswith(("scale", "scale_inv")):
                found += _weight(group, groups, facts)
    for pattern, group in groups.items():
        for ending in ENDINGS:
            stem = pattern.removesuffix(ending)
            if stem.endswith("weight") and stem != pattern:
                found += _scale(group, groups.get(stem) or groups.get(f"{stem}_packed"))
                break
    return found


def partners(pattern: str) -> tuple[str, ...]:
    """Where a weight's scale may be: fp8 checkpoints spell it in these ways."""
    module = pattern.removesuffix(".weight")
    return (f"{pattern}_scale_inv", f"{pattern}_scale", f"{module}.scale", f"{module}.scales", f"{module}_scale_inv",
            f"{module}_scale", f"{module}.weights_scaling_factor", f"{module}.scale_inv")  # fmt: skip


def _weight(group: Group, groups: dict[str, Group], facts: Facts) -> list[Finding]:
    there = [groups[p] for p in partners(group.pattern) if p in groups]
    bare: list[tuple[str, ...]] = []
    if not any(partner.indices == group.indices for partner in there):
        scaled = {row for partner in there for row in partner.indices}
        bare = [row for row in group.indices if row not in scaled]
    found = [note(WEIGHT_UNSCALED, fill(group.pattern, row), "is fp8, but has no scale") for row in bare[:NAMED]]
    if len(bare) > NAMED:
        found.append(note(WEIGHT_UNSCALED, group.pattern, f"{len(bare) - NAMED} more fp8 weights have no scale"))
    block = facts.quantization.block_size if facts.quantization else None
    if block is not None:
        for partner in there:
            found += _blocks(group, partner, block)
    return found


def _blocks(group: Group, partner: Group, block: tuple[int, int]) -> list[Finding]:
    """Block scales are ceil(rows/block) by ceil(columns/block); of one shape only where all weights are."""
    wanted = {
        (*shape[:-2], -(-shape[-2] // block[0]), -(-shape[-1] // block[1]))
        for dtype, shape in group.kinds
        if dtype in FP8 and len(shape) > 1
    }
    wrong = [shape for _, shape in partner.kinds if len(shape) > 1 and wanted and _plane(shape) not in wanted]
    return [
        note(SCALE_SHAPE, partner.pattern, f"has shape {list(shape)}; blocks of {block[0]}x{block[1]} need "
             f"{' or '.join(str(list(s)) for s in sorted(wanted))}")
        for shape in wrong[:2]
    ]  # fmt: skip


def _plane(shape: tuple[int, ...]) -> tuple[int, ...]:
    """modelopt writes the blocks of a matrix as [rows, 1, columns, 1]."""
    return (shape[0], shape[2]) if len(shape) == 4 and shape[1] == shape[3] == 1 else shape


def _scale(group: Group, weight: Group | None) -> list[Finding]:
    if weight is not None and weight.indices == group.indices:
        return []
    there = set(weight.indices) if weight is not None else set()
    alone = [row for row in group.indices if row not in there]
    found = [note(SCALE_ALONE, fill(group.pattern, row), "scales a weight that is not there") for row in alone[:NAMED]]
    if len(alone) > NAMED:
        found.append(note(SCALE_ALONE, group.pattern, f"{len(alone) - NAMED} more scales have no weight"))
    return found
