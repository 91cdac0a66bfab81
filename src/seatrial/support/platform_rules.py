"""The platform's attention rules (`platforms/<name>/attention.py`) laid over a checkpoint.

What a rule allows is "expected". A size outside of those that the documents name is "unknown", not refused: other
paths of the plugin may take it, and only a run shows it.
"""

from __future__ import annotations

import importlib

from seatrial.checkpoint import Card
from seatrial.checkpoint.attention import Mixer
from seatrial.platforms.rules import AttentionRules
from seatrial.support.feature import Feature
from seatrial.targets import Target

BY_HEADS = {"MHA", "GQA", "MQA"}


def rules_of(platform: str) -> AttentionRules:
    """The rules of that platform."""
    rules: AttentionRules = importlib.import_module(f"seatrial.platforms.{platform}.attention").RULES
    return rules


def kind_of(mixer: Mixer) -> str:
    """The rules' word for a mixer; its own kind where it keeps a state instead of a cache."""
    if mixer.kind in BY_HEADS:
        return "heads"
    if mixer.kind == "MLA" and mixer.compress_ratio is not None:
        return "MLA compressed"
    if mixer.kind == "MLA" and mixer.index_topk is not None:
        return "MLA sparse"
    return mixer.kind


def attention_features(card: Card, target: Target) -> tuple[Feature, ...]:
    """The lines "attention kind" and "head size" of the plan."""
    rules = rules_of(target.platform)
    mixers = [m for m in card.attention.mixers if m.kind != "none"]
    if not mixers:
        why = "config.json does not say how tokens are mixed"
        return (
            Feature(name="attention kind", expectation="unknown", reason=why),
            Feature(name="head size", expectation="unknown", reason=why),
        )
    return (_kind(mixers, rules, target), _head_size(mixers, rules, target))


def _kind(mixers: list[Mixer], rules: AttentionRules, target: Target) -> Feature:
    name = "attention kind"
    kinds = list(dict.fromkeys(kind_of(m) for m in mixers))
    if not rules.kinds and not rules.refused:
        why = f"{', '.join(kinds)}; platform {target.platform!r} has no rules here, only the engine can be asked"
        return Feature(name=name, expectation="unknown", reason=why)
    for kind in kinds:
        if kind in rules.refused:
            return Feature(name=name, expectation="not-expected", reason=f"{kind}: {rules.refused[kind]}")
    lost = [kind for kind in kinds if kind not in rules.kinds]
    if lost:
        why = f"no backend is known for {', '.join(lost)} ({rules.sources.get('kinds', '')})"
        return Feature(name=name, expectation="unknown", reason=why)
    served = ", ".join(f"{kind} by {rules.kinds[kind]}" for kind in kinds)
    return Feature(name=name, expectation="expected", reason=f"{served} ({rules.sources['kinds']})")


def _head_size(mixers: list[Mixer], rules: AttentionRules, target: Target) -> Feature:
    name = "head size"
    problems = []
    looked = []
    for mixer in mixers:
        if mixer.kind == "MLA" and rules.mla_heads_per_rank is not None and mixer.heads is not None:
            size = int(target.serve.args.get("tensor-parallel-size", 1))
            each = mixer.heads // size if mixer.heads % size == 0 else None
            looked.append(f"{each} heads a rank")
            if each not in rules.mla_heads_per_rank:
                named = ", ".join(map(str, rules.mla_heads_per_rank))
                problems.append(f"{each} heads a rank with TP {size}, named are {named}")
        elif mixer.kind in BY_HEADS and rules.head_sizes is not None and mixer.head_dim is not None:
            looked.append(f"head_dim {mixer.head_dim}")
            if mixer.head_dim not in rules.head_sizes:
                named = ", ".join(map(str, rules.head_sizes))
                problems.append(f"head_dim {mixer.head_dim}, named are {named}")
    if not looked:
        why = f"no rule of platform {target.platform!r} speaks of this attention's sizes"
        return Feature(name=name, expectation="unknown", reason=why)
    sources = "; ".join(rules.sources[key] for key in ("head_sizes", "mla_heads_per_rank") if key in rules.sources)
    if problems:
        return Feature(name=name, expectation="unknown", reason=f"{'; '.join(dict.fromkeys(problems))} ({sources})")
    return Feature(name=name, expectation="expected", reason=f"{', '.join(dict.fromkeys(looked))} ({sources})")
