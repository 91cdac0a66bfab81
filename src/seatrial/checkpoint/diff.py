"""What changed between two checkpoints: a base and its quantised or fine-tuned form, or two downloads.

In: two `Card`s. Out: `Difference`: facts by their dotted names, tensors by pattern. Weight contents are not read:
equal here means equal facts, names, dtypes and shapes.
"""

from __future__ import annotations

from typing import Any

from seatrial.checkpoint.card import Card
from seatrial.checkpoint.components import Leaf
from seatrial.core.record import Record, to_plain

# Where a card's facts are, without weights (compared by pattern), sources and findings (they follow).
PARTS = ("architecture", "attention", "feed_forward", "quantization", "mtp", "multimodal", "tokenizer", "context",
         "parameters")  # fmt: skip
SHOWN = 160


class Change(Record):
    """A fact that differs; values as JSON would show them, cut to one line."""

    fact: str
    before: str
    after: str


class Pair(Record):
    """A pattern in both whose dtypes, shape or number of tensors differ."""

    pattern: str
    before: str
    after: str


class Difference(Record):
    """From `before` to `after` (folders)."""

    before: str
    after: str
    same: bool
    facts: tuple[Change, ...]
    added: tuple[Leaf, ...]
    removed: tuple[Leaf, ...]
    changed: tuple[Pair, ...]
    schema_version: int = 1


def compare(before: Card, after: Card) -> Difference:
    """Facts part by part, then patterns."""
    facts: list[Change] = []
    for part in PARTS:
        old, new = to_plain(getattr(before, part)), to_plain(getattr(after, part))
        facts += _changes(part, old, new)
    old_tree = {leaf.pattern: leaf for leaf in before.weights.tree}
    new_tree = {leaf.pattern: leaf for leaf in after.weights.tree}
    changed = [
        Pair(pattern=p, before=_leaf(old_tree[p]), after=_leaf(new_tree[p]))
        for p in old_tree
        if p in new_tree and _leaf(old_tree[p]) != _leaf(new_tree[p])
    ]
    added = tuple(leaf for p, leaf in new_tree.items() if p not in old_tree)
    removed = tuple(leaf for p, leaf in old_tree.items() if p not in new_tree)
    return Difference(
        before=before.folder,
        after=after.folder,
        same=not (facts or changed or added or removed),
        facts=tuple(facts),
        added=added,
        removed=removed,
        changed=tuple(changed),
    )


def _changes(name: str, old: Any, new: Any) -> list[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        return [c for k in keys for c in _changes(f"{name}.{k}", old.get(k), new.get(k))]
    return [] if old == new else [Change(fact=name, before=_cut(old), after=_cut(new))]


def _cut(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _leaf(leaf: Leaf) -> str:
    dtypes = ", ".join(f"{n} {d}" for d, n in leaf.dtypes.items()) or f"{leaf.tensors}"
    return f"{dtypes}{f' {list(leaf.shape)}' if leaf.shape else ''}"
