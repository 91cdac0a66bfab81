"""Gaps in the numbering of layers and experts, and their number against the config's."""

from __future__ import annotations

import re

from seatrial.checkpoint.checks.facts import Facts, layer_numbers
from seatrial.checkpoint.codes import note
from seatrial.checkpoint.model_codes import EXPERT_GAP, EXPERT_MISMATCH, LAYER_COUNT, LAYER_GAP
from seatrial.checkpoint.names import LANGUAGE, Group, fill
from seatrial.core.finding import Finding

# Only lists of like modules must be without gaps; a Sequential's may skip (an activation has no tensors).
STEMS = re.compile(r"(^|\.)(layers|h|blocks|layer|block|resblocks)$")
NAMED = 5


def check(facts: Facts) -> list[Finding]:
    """Layers by stem, then experts by pattern."""
    found: list[Finding] = []
    stems: dict[str, set[int]] = {}
    for _, group in facts.groups:
        stem, star, _ = group.pattern.partition(".*")
        if star and STEMS.search(stem):
            stems.setdefault(stem, set()).update(layer_numbers(group))
    for stem, numbers in stems.items():
        missing = sorted(set(range(min(max(numbers, default=-1) + 1, 10_000))) - numbers)
        found += [note(LAYER_GAP, f"{stem}.{i}", "no tensor of this layer is there") for i in missing[:NAMED]]
        if len(missing) > NAMED:
            found.append(note(LAYER_GAP, stem, f"{len(missing) - NAMED} more layers are missing"))
        layers = facts.frame.layers
        if LANGUAGE.fullmatch(stem) and layers and max(numbers, default=-1) + 1 != layers:
            text = f"the weights hold layers up to {max(numbers, default=-1)}; num_hidden_layers is {layers}"
            found.append(note(LAYER_COUNT, stem, text))
    for _, group in facts.groups:
        found += _experts(group, facts)
    return found


def _experts(group: Group, facts: Facts) -> list[Finding]:
    """Per-expert tensors: every layer that has any must have all, from 0."""
    head, star, _ = group.pattern.rpartition(".experts.*")
    if not star:
        return []
    at = head.count("*")
    lasts = {row[at] for row in group.indices}
    outer = {row[:at] for row in group.indices}
    count = len(lasts)
    # A full box of names: every layer with every expert, numbered from 0 without a gap.
    if len(group.indices) != count * len(outer) or lasts != {str(i) for i in range(count)}:
        return _gaps(group, at, count)
    moe = facts.ffn.moe
    if moe is not None and moe.experts != count and "mtp" not in head:
        text = f"the weights hold {count} experts; the config says {moe.experts}"
        return [note(EXPERT_MISMATCH, group.pattern, text)]
    return []


def _gaps(group: Group, at: int, count: int) -> list[Finding]:
    rows: dict[tuple[str, ...], set[str]] = {}
    for row in group.indices:
        rows.setdefault(row[:at], set()).add(row[at])
    found: list[Finding] = []
    wanted = {str(i) for i in range(max(count, max((len(v) for v in rows.values()), default=0)))}
    for outer, there in rows.items():
        for expert in sorted(wanted - there, key=lambda t: (len(t), t))[:NAMED]:
            if len(found) == NAMED:
                return [*found, note(EXPERT_GAP, group.pattern, "and more experts are missing")]
            found.append(
                note(EXPERT_GAP, fill(group.pattern, [*outer, expert]), "is missing; its neighbours are there")
            )
    return found or [note(EXPERT_GAP, group.pattern, "the experts are not numbered from 0 without a gap")]
