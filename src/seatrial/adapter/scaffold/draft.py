"""The draft (MTP) layers of a checkpoint: their weights' places in the draft's file, and what the names do not say.

In: config.json, the tensors, the decoder's facts. Out: `Draft`, or the reason why none is written. The layouts are
those of `draft_layouts`; another one is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.adapter.scaffold.draft_layouts import BLOCK, DEEPSEEK, LAYER, DraftLayout, layout_of
from seatrial.adapter.scaffold.facts import DecoderFacts
from seatrial.adapter.scaffold.roles import (
    DRAFT,
    NUMBER,
    Kind,
    NamedTensor,
    kind_of,
    kinds_of,
    layer_of,
    role_inside,
)
from seatrial.adapter.scaffold.undecided import Open
from seatrial.checkpoint.mtp import COUNTS
from seatrial.core.record import Record, replace


class Draft(Record):
    """`field` of config.json counts the layers ("": none does, the names say `count`).

    `kinds` map the checkpoint's names to the draft's. `own_head`: the checkpoint has a head of the draft's own; else
    the model's is taken. `reason`: why none is written. `there`: whether the weights of as many layers are there.
    """

    field: str
    count: int
    layout: DraftLayout = DEEPSEEK
    kinds: tuple[Kind, ...] = ()
    open: tuple[Open, ...] = ()
    own_head: bool = True
    reason: str = ""
    there: bool = True

    @property
    def shared(self) -> bool:
        """Whether several layers have the norms around them and the projection in common."""
        return self.count > 1 and any("*" not in end for end in self.layout.around)

    @property
    def number(self) -> str:
        """Python that gives the count of layers."""
        return f"config.{self.field}" if self.field else str(self.count)


def read_draft(config: Mapping[str, Any], tensors: Iterable[NamedTensor], facts: DecoderFacts) -> Draft | None:
    """None where neither config.json declares MTP layers nor tensors of them have names of their own."""
    field = next((name for name in COUNTS if _number(config.get(name))), "")
    named = list(tensors)
    own = [t for t in named if DRAFT.match(t.name)]
    layers = _number(config.get(facts.of["layers"])) if facts.of["layers"] else 0
    off = any(name in config and not _number(config[name]) for name in COUNTS)
    if not field and (not own or off):
        return None
    if own:
        return _numbered_itself(field, config, named, own, facts, layers)
    count = _number(config[field])
    none = Draft(field=field, count=count)
    late = [t for t in named if (layer_of(t.name) or 0) >= layers > 0]
    if not late:
        reason = f"no weights are numbered on from layer {layers}: its layout is not known"
        return replace(none, reason=reason, there=False)
    found = sorted({layer_of(t.name) or 0 for t in late})
    if found != list(range(layers, layers + count)):
        said = ", ".join(map(str, found))
        reason = f"{field} is {count} after {layers} layers, and the weights have layers {said}"
        return replace(none, reason=reason, there=False)
    kinds = [_placed(kind) for kind in kinds_of(late, None, False)]
    return _written(none, kinds, [t for t in named if layer_of(t.name) is None], facts, layers)


def _numbered_itself(
    field: str,
    config: Mapping[str, Any],
    named: list[NamedTensor],
    own: list[NamedTensor],
    facts: DecoderFacts,
    layers: int,
) -> Draft:
    """A draft whose layers have numbers of their own."""
    groups: dict[str, list[NamedTensor]] = {}
    for tensor in own:
        groups.setdefault(NUMBER.sub("*", tensor.name), []).append(tensor)
    layout = layout_of(list(groups))
    inside = [t for p, ts in groups.items() if layout.layer and re.fullmatch(layout.layer, p) for t in ts]
    numbers = sorted({int(n[0]) for t in inside if (n := NUMBER.search(t.name))})
    count = _number(config[field]) if field else len(numbers)
    none = Draft(field=field, count=count, layout=layout)
    if not layout.own:
        return replace(none, reason="its tensors are named in none of the known layouts")
    if numbers != list(range(count)):
        said = ", ".join(map(str, numbers))
        reason = f"{field or 'the names'} say {count} layers, and the weights have layers {said}"
        return replace(none, reason=reason, there=False)
    kinds = []
    for pattern, members in sorted(groups.items()):
        target = next((to for end, to in layout.around.items() if pattern.endswith(end)), "")
        match = re.fullmatch(layout.layer, pattern)
        if not target and match:
            module, _, leaf = match[1].rpartition(".")
            role = role_inside(module)
            target = f"{BLOCK}{role}.{leaf}" if role else ""
        kinds.append(kind_of(pattern, target, members, ""))
    outside = [t for t in named if layer_of(t.name) is None and not DRAFT.match(t.name)]
    return _written(none, kinds, outside, facts, layers)


def _written(none: Draft, kinds: list[Kind], model: list[NamedTensor], facts: DecoderFacts, layers: int) -> Draft:
    """The draft of these kinds, with what it takes of the model's own tensors; or the reason."""
    layout = none.layout
    missing = [end.strip(".") for end in layout.needed if not any(k.pattern.endswith(end) for k in kinds)]
    if missing:
        return replace(none, reason=f"its layers have no {', '.join(missing)}: another layout, which is not known")
    own = {k.target for k in kinds}
    head = any((target or "").endswith(".shared_head.head.weight") for target in own)
    tied = {k.pattern for k in facts.kinds if k.target is None}
    outside = [_outside(k, own, head or k.pattern in tied) for k in kinds_of(model, None, False)]
    return replace(none, kinds=(*kinds, *outside), own_head=head, open=tuple(_questions(kinds, facts, layers)))


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _placed(kind: Kind) -> Kind:
    around = next((to for end, to in DEEPSEEK.around.items() if kind.pattern.endswith(end)), None)
    if around is not None:
        return replace(kind, target=around)
    if kind.target and kind.target.startswith(LAYER):
        return replace(kind, target=BLOCK + kind.target.removeprefix(LAYER))
    return kind


def _outside(kind: Kind, own: set[str | None], no_head: bool) -> Kind:
    """A tensor of the model itself: the draft takes the embedding and the head, unless it has them."""
    if kind.target == "model.embed_tokens.weight" and kind.target not in own:
        return kind
    head = (kind.target or "").startswith("lm_head.")
    if head and not no_head:
        return kind
    why = "vLLM gives the draft the model's own head" if head else "the model's own, not the draft's"
    return replace(kind, target=None, reason=why)


def _questions(kinds: list[Kind], facts: DecoderFacts, layers: int) -> list[Open]:
    """What of the draft's decoder layer is not as in the model's last one."""
    asked = [
        Open(question=f"What is {k.pattern} of the draft?", evidence=(f"Shape {list(k.shape)}; first {k.example}.",))
        for k in kinds
        if k.target == ""
    ]
    theirs = {k.target for k in facts.kinds if k.target and layers - 1 in k.layers}
    ours = {k.target.replace(BLOCK, LAYER) for k in kinds if k.target and k.target.startswith(BLOCK)}
    if theirs != ours:
        evidence = tuple(f"Only {who}: {', '.join(sorted(some))}." for who, some in _apart(theirs, ours))
        asked.append(Open(question="How does the draft's layer differ from the model's last one?", evidence=evidence))
    if facts.windows:
        question = "Does the draft's layer attend within a window?"
        asked.append(Open(question=question, evidence=("The attention reads layer_types by the layer's number.",)))
    return asked


def _apart(theirs: set[str], ours: set[str]) -> list[tuple[str, set[str]]]:
    return [(who, some) for who, some in (("the model", theirs - ours), ("the draft", ours - theirs)) if some]


def beyond(tensors: Iterable[NamedTensor], layers: object) -> bool:
    """Whether there are tensors of layers after the model's own, which the model's loader must pass over."""
    last = _number(layers)
    numbered = (layer_of(t.name) or 0 for t in tensors if not DRAFT.match(t.name))
    return last > 0 and any(number >= last for number in numbered)
