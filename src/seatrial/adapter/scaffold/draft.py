"""The draft (MTP) layers of a checkpoint: their weights' places in the draft's file, and what the names do not say.

In: config.json, the tensors, the decoder's facts. Out: `Draft`, or the reason why none is written. One layout is known,
the one whose names say how it computes: layers numbered on from the model's last, each a decoder layer with `enorm`,
`hnorm` and `eh_proj` before it (the norm of the next token's Embedding, of the Hidden state, the projection of both).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from seatrial.adapter.scaffold.facts import DecoderFacts
from seatrial.adapter.scaffold.roles import Kind, NamedTensor, kinds_of, layer_of
from seatrial.adapter.scaffold.undecided import Open
from seatrial.checkpoint.mtp import COUNTS
from seatrial.core.record import Record, replace

LAYER = "model.layers.*."
BLOCK = f"{LAYER}mtp_block."
# Parts of a draft layer around its decoder layer, by the end of their names.
AROUND = {
    ".enorm.weight": f"{LAYER}enorm.weight",
    ".hnorm.weight": f"{LAYER}hnorm.weight",
    ".eh_proj.weight": f"{LAYER}eh_proj.weight",
    ".shared_head.norm.weight": f"{LAYER}shared_head.norm.weight",
    ".shared_head.head.weight": f"{LAYER}shared_head.head.weight",
    ".*.embed_tokens.weight": "model.embed_tokens.weight",
}
NEEDED = (".enorm.weight", ".hnorm.weight", ".eh_proj.weight", ".shared_head.norm.weight")
ASSUMED = (
    "eh_proj takes the embedding first and the hidden state second, as its name has them",
    "the embedding at position 0 counts as zero: nothing was there before it",
    "shared_head.norm stands before the head, and the next draft step gets the hidden state without it",
)


class Draft(Record):
    """`field` of config.json counts the layers; `kinds` map to the draft's names; `reason` says why none is written."""

    field: str
    count: int
    kinds: tuple[Kind, ...] = ()
    open: tuple[Open, ...] = ()
    reason: str = ""


def read_draft(config: Mapping[str, Any], tensors: Iterable[NamedTensor], facts: DecoderFacts) -> Draft | None:
    """None where config.json declares no MTP layers."""
    field = next((name for name in COUNTS if _number(config.get(name))), "")
    if not field:
        return None
    count, layers = _number(config[field]), _number(config.get(facts.of["layers"])) if facts.of["layers"] else 0
    none = Draft(field=field, count=count)
    named = list(tensors)
    late = [t for t in named if (layer_of(t.name) or 0) >= layers > 0]
    if not late:
        return replace(none, reason=f"no weights are numbered on from layer {layers}: its layout is not known")
    found = sorted({layer_of(t.name) or 0 for t in late})
    if found != list(range(layers, layers + count)):
        said = ", ".join(map(str, found))
        return replace(none, reason=f"{field} is {count} after {layers} layers, and the weights have layers {said}")
    kinds = [_placed(kind) for kind in kinds_of(late, None, False)]
    missing = [end.strip(".") for end in NEEDED if not any(k.pattern.endswith(end) for k in kinds)]
    if missing:
        return replace(none, reason=f"its layers have no {', '.join(missing)}: another layout, which is not known")
    own = {k.target for k in kinds}
    outside = [_outside(k, own) for k in kinds_of([t for t in named if layer_of(t.name) is None], None, False)]
    return replace(none, kinds=(*kinds, *outside), open=tuple(_questions(kinds, facts, layers)))


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _placed(kind: Kind) -> Kind:
    around = next((to for end, to in AROUND.items() if kind.pattern.endswith(end)), None)
    if around is not None:
        return replace(kind, target=around)
    if kind.target and kind.target.startswith(LAYER):
        return replace(kind, target=BLOCK + kind.target.removeprefix(LAYER))
    return kind


def _outside(kind: Kind, own: set[str | None]) -> Kind:
    """A tensor of the model itself: the draft takes the embedding, unless it has one; the head vLLM lends it."""
    if kind.target == "model.embed_tokens.weight" and kind.target not in own:
        return kind
    head = (kind.target or "").startswith("lm_head.")
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
    return last > 0 and any((layer_of(tensor.name) or 0) >= last for tensor in tensors)
