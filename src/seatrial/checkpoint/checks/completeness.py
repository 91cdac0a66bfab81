"""Layers of one kind have the same tensors: one that lacks what its like have was not saved whole."""

from __future__ import annotations

from seatrial.checkpoint.checks.facts import SUFFIX, Facts, layer_numbers
from seatrial.checkpoint.codes import note
from seatrial.checkpoint.components import serves
from seatrial.checkpoint.model_codes import LAYER_INCOMPLETE
from seatrial.core.finding import Finding

NAMED = 8


def check(facts: Facts) -> list[Finding]:
    """Compare the layers of each class (same mixer, same feed-forward part, by the config)."""
    mixers, feeds = facts.attention.pattern, facts.ffn.pattern
    if not mixers or len(mixers) != len(feeds):
        return []
    having: dict[str, set[int]] = {}
    example: dict[str, str] = {}
    present: set[int] = set()
    for tail, group in facts.language_layers():
        # A quantised module has other leaves than a plain one; what counts is that the module is there.
        if serves(group.pattern):
            continue
        module = SUFFIX.sub(lambda m: ".bias" if m[1] == "bias" else ".weight", tail)
        numbers = layer_numbers(group)
        having.setdefault(module, set()).update(numbers)
        example.setdefault(module, group.pattern)
        present |= numbers
    classes: dict[tuple[int, str], set[int]] = {}
    for i, kind in enumerate(zip(mixers, feeds, strict=True)):
        if i in present:
            classes.setdefault(kind, set()).add(i)
    found: list[Finding] = []
    for module, layers in having.items():
        for like in classes.values():
            lacking = like - layers
            # In more than half of them it is the rule, and what lacks it the exception.
            if lacking and len(lacking) * 2 < len(like) + 1 and like & layers:
                names = [example[module].replace("*", str(i), 1) for i in sorted(lacking)[:NAMED]]
                text = f"{len(like) - len(lacking)} layers of this kind have it"
                found += [note(LAYER_INCOMPLETE, name, f"is missing; {text}") for name in names]
    return found
