"""Weights per rank from the shards' headers and the tensors' names alone: the fallback, and the check of the other way.

In: a card whose headers were read. Out: `WeightBytes` marked as not exact, or the difference between the headers and
the
shapes worked out from config.json. Splits are guessed by the component a name belongs to, always on the larger side:
what
is not known to be split counts in full on every rank.
"""

from __future__ import annotations

import re

from seatrial.checkpoint.components import Leaf
from seatrial.core.record import Record
from seatrial.estimate.layout import Layout
from seatrial.estimate.model import DTYPE_BYTES, Model
from seatrial.estimate.weights import StageWeights, WeightBytes

SPLIT = ("embedding", "head", "attention", "linear-attention", "mlp", "shared-experts")
WHOLE = re.compile(r"(q_a_proj|kv_a_proj|fused_qkv_a|\bnorm|indexer|layernorm)")
KV = re.compile(r"\.(k|v)_proj\.")
PARTS = {"embedding": "embedding", "head": "head", "router": "router", "experts": "experts"}


class HeaderCheck(Record):
    """Bytes of all tensors the engine loads (MTP left out): as the headers have them, as the shapes say, at TP 1."""

    headers: int
    shapes: int

    def differs(self) -> bool:
        """More than the padding of vocabularies and scales' parameters can explain (one part in a thousand)."""
        return abs(self.headers - self.shapes) > max(self.headers, self.shapes) // 1000

    def words(self) -> str:
        share = (self.shapes - self.headers) / self.headers if self.headers else 0.0
        return f"the shards hold {self.headers} bytes of weights, the shapes say {self.shapes} ({share:+.3%})"


def loaded_bytes(model: Model) -> int:
    """What the headers hold, in the dtype the engine loads it in, without MTP layers."""
    return sum(_loaded(model, leaf) for leaf in model.card.weights.tree if leaf.component != "mtp")


def check(model: Model, at_one: WeightBytes) -> HeaderCheck | None:
    """Compare, where there are headers; `at_one` is what the shapes say at TP 1 and PP 1."""
    if model.card.weights.known != "headers":
        return None
    tied = model.card.architecture.tied_embeddings
    held = loaded_bytes(model)
    if tied:
        # A tied head that was stored all the same is not loaded twice.
        held -= sum(_loaded(model, leaf) for leaf in model.card.weights.tree if leaf.component == "head")
    return HeaderCheck(headers=held, shapes=at_one.stages[0].total())


def header_weights(model: Model, layout: Layout, why: str) -> WeightBytes:
    """By names; `why` the exact way was not possible."""
    parts: dict[str, int] = {}
    kv = model.card.attention.kv_heads or 1
    for leaf in model.card.weights.tree:
        if leaf.component == "mtp":
            continue
        share = 1.0
        if leaf.component == "experts":
            share = 1 / (layout.expert_ranks() if layout.ep else layout.tp * layout.dp)
        elif leaf.component in SPLIT and not WHOLE.search(leaf.pattern):
            share = max(1 / layout.tp, 1 / kv if KV.search(leaf.pattern) and layout.tp > kv else 0.0)
        if ".*." in leaf.pattern and layout.pp > 1:
            share /= layout.pp
        parts[leaf.component] = parts.get(leaf.component, 0) + int(_loaded(model, leaf) * share)
    stage = StageWeights(stage=0, layers=-(-(model.card.architecture.layers or 0) // layout.pp), parts=parts)
    note = f"weights are split by the tensors' names, on the larger side, not exactly ({why})"
    return WeightBytes(stages=(stage,), notes=(note,), exact=False)


def _loaded(model: Model, leaf: Leaf) -> int:
    """Bytes once loaded: plain floats become the model's dtype, everything else stays as it is stored."""
    if set(leaf.dtypes) <= {"F32", "BF16", "F16"} and not leaf.pattern.endswith(
        ("scale", "scale_inv", "bias", "A_log")
    ):
        return leaf.elements * DTYPE_BYTES[model.dtype()]
    return leaf.nbytes
