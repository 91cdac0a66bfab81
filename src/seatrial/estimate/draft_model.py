"""A draft that is a checkpoint of its own (a small model, EAGLE, EAGLE-3, Medusa): its weights and its cache on a rank.

In: the draft's model, the target's cache, a layout. Out: `Draft`, and the cache with the draft's layers behind the
target's. As vLLM 0.32 builds them (config/speculative.py, v1/spec_decode): the draft is split like the target, in the
blocks of the target's cache. An EAGLE head keeps an embedding or a head of its own only where its checkpoint has one
(llm_base_proposer.py), so its weights are those of its shards. What is not known of it is named, never passed over.
"""

from __future__ import annotations

from seatrial.core.record import Record, replace
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.header_weights import header_weights
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.kv_specs import NOT_COUNTED, CacheSpec, KvCache
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven, altered
from seatrial.estimate.weights import weight_bytes

# By parts of the architecture's name: heads beside the target that keep no cache, and forms that nobody read.
WITHOUT_CACHE = ("medusa", "mlpspeculator")
UNREAD = ("dflash", "dspark", "parallel")


class Draft(Record):
    """`weights`: bytes on the largest rank, None where `why` says what lacks. `notes`: what to say of the figures."""

    name: str
    weights: int | None
    cache: tuple[CacheSpec, ...] | None
    why: str = ""
    notes: tuple[str, ...] = ()


def read_draft(model: Model, layout: Layout, serving: Serving, rules: EngineRules, target: KvCache) -> Draft:
    """The draft on a rank of the target's layout; every stage of a pipeline but the last holds none of it."""
    name = next(iter(model.card.architecture.architectures), "") or model.kind()
    low = name.lower()
    if unread := next((u for u in UNREAD if u in low), ""):
        why_not = f"the form of a {unread} draft was not read from an engine"
        return Draft(name=name, weights=None, cache=None, why=why_not)
    alone = Layout(tp=layout.tp)
    why: list[str] = []
    notes: list[str] = []
    weights = None
    if any(word in low for word in ("eagle", *WITHOUT_CACHE)):
        if model.card.weights.known == "headers":
            weights = header_weights(model, alone, "an EAGLE head keeps what its shards hold").largest().total()
            notes.append(f"the draft {name}: weights as its shards hold them, split by the tensors' names")
        else:
            why.append("its shards are not there, and what a head shares with its target they alone say")
    else:
        try:
            weights = weight_bytes(model, alone).largest().total()
        except (Lacking, NotModelled, Uneven) as exc:
            if model.card.weights.known == "headers" and not isinstance(exc, Uneven):
                found = header_weights(model, alone, str(exc))
                weights, notes = found.largest().total(), [*notes, *found.notes]
            else:
                why.append(str(exc))
    cache: tuple[CacheSpec, ...] | None = ()
    if not any(word in low for word in WITHOUT_CACHE):
        own = altered(serving, spec_tokens=0, block_size=target.block, encoder_tokens=None)
        try:
            cache = kv_cache(model, alone, own, rules).specs
        except (Lacking, NotModelled, Uneven) as exc:
            cache = None
            why.append(f"cache: {exc}")
    return Draft(name=name, weights=weights, cache=cache, why="; ".join(why), notes=tuple(notes))


def with_draft(target: KvCache, draft: Draft, layers: int) -> KvCache:
    """The target's layers, then the draft's, numbered behind them."""
    notes = tuple(n for n in target.notes if n != NOT_COUNTED)
    if draft.cache is None:
        return altered(target, notes=(*notes, f"{NOT_COUNTED}: {draft.name}, {draft.why}"))
    mine = tuple(replace(s, layer=layers + s.layer, role=f"draft {s.role}") for s in draft.cache)
    return altered(target, specs=(*target.specs, *mine), notes=(*notes, *draft.notes))
