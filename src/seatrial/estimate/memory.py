"""Memory of one device as buckets, each with its source: what the engine may use, what it needs, what is left for KV.

In: a model, a layout, how it is served, the device's memory, what earlier runs calibrated. Out: `Memory`. Bytes are per
device, of the fullest pipeline stage. A bucket that nobody can state is unknown with its reason, and the margin says
what stands in for it.
"""

from __future__ import annotations

from typing import Literal

from seatrial.core.quantity import Quantity, Source, unknown
from seatrial.core.record import Record
from seatrial.estimate.calibrate import Calibration
from seatrial.estimate.draft import draft_bytes, draft_layers
from seatrial.estimate.draft_model import Draft
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.model import Model
from seatrial.estimate.weights import WeightBytes

BucketName = Literal["weights", "activations", "graphs", "runtime", "speculative", "margin", "kv-cache"]


class Bucket(Record):
    """`amount` in bytes; `how` says what it was made from."""

    name: BucketName
    amount: Quantity
    how: str


class Memory(Record):
    """`device` bytes exist, `budget` the engine may use; `for_kv` is the budget less all known buckets but the margin.

    `unknown` names the buckets without a figure; the margin stands in for them.
    """

    device: Quantity
    budget: int | None
    buckets: tuple[Bucket, ...]
    for_kv: int | None
    margin: int
    unknown: tuple[str, ...]


def memory(
    model: Model,
    weights: WeightBytes,
    layout: Layout,
    serving: Serving,
    rules: EngineRules,
    device: Quantity,
    margin_share: float,
    calibration: Calibration,
    draft: Draft | None = None,
) -> Memory:
    """Fill the buckets. `margin_share` is the share of the device's memory kept free by choice; `draft` another
    checkpoint that drafts.
    """
    stage = weights.largest()
    made = [
        Bucket(
            name="weights",
            amount=Quantity(value=stage.total(), unit="bytes", source=Source.DERIVED, note=f"stage {stage.stage}"),
            how=f"shapes of the engine's classes, split by {layout.words()}",
        ),
        _activations(model, layout, serving, rules, calibration),
        _graphs(serving, calibration),
        _runtime(calibration),
    ]
    if serving.spec_tokens:
        made.append(_separate(draft, serving) if draft is not None else _speculative(model, layout, serving))
    total = device.value
    budget = serving_budget(serving, total)
    known = sum(int(b.amount.value) for b in made if b.amount.value is not None)
    missing = tuple(b.name for b in made if b.amount.value is None)
    margin = int((total or 0) * margin_share)
    made.append(
        Bucket(
            name="margin",
            amount=Quantity(value=margin, unit="bytes", source=Source.DECLARED, note="--margin"),
            how=f"{margin_share:.0%} of the device" + (f"; stands in for {', '.join(missing)}" if missing else ""),
        )
    )
    for_kv = serving.kv_bytes if serving.kv_bytes is not None else None if budget is None else budget - known
    return Memory(device=device, budget=budget, buckets=tuple(made), for_kv=for_kv, margin=margin, unknown=missing)


def serving_budget(serving: Serving, total: float | None) -> int | None:
    return None if total is None else int(total * serving.utilization)


def activation_bytes(model: Model, layout: Layout, serving: Serving, rules: EngineRules) -> int:
    """Peak of one step at the scheduler's limit: the widest layer's live tensors, and the logits of every request.

    A bound of the form the engine's own profiling run takes: tokens x (residual, norm output, the widest projection's
    output and its activation), experts with their copies, then logits in float32 beside the model's dtype.
    """
    card = model.card
    size = model.dtype_bytes()
    tokens = serving.max_num_batched_tokens or rules.batched_tokens
    seqs = serving.max_num_seqs or rules.max_seqs
    hidden, tp = model.hidden(), layout.tp
    attention = max(((m.heads or 0) * (m.head_dim or 0) * 2 // tp for m in card.attention.mixers), default=0)
    ffn = card.feed_forward
    dense = 3 * max(ffn.sizes, default=0) // tp
    experts = 0
    if ffn.moe is not None and ffn.moe.intermediate_size:
        share = ffn.moe.intermediate_size if layout.ep else ffn.moe.intermediate_size // tp
        experts = (ffn.moe.experts_per_token or 1) * (3 * share + hidden)
    step = tokens * size * (3 * hidden + max(attention, dense, experts))
    logits = seqs * (card.architecture.vocab_size or 0) * (size + 4)
    return max(step, logits)


def _activations(
    model: Model, layout: Layout, serving: Serving, rules: EngineRules, calibration: Calibration
) -> Bucket:
    tokens = serving.max_num_batched_tokens or rules.batched_tokens
    formula = activation_bytes(model, layout, serving, rules)
    factor = calibration.activations
    how = (
        f"{tokens} tokens a step, {serving.max_num_seqs or rules.max_seqs} requests' logits; a model, not a measurement"
    )
    if factor is None:
        amount = Quantity(value=formula, unit="bytes", source=Source.DERIVED, note="formula, not calibrated")
    else:
        note = f"formula {formula} x {factor.value:.3g} ({factor.note})"
        amount = Quantity(value=int(formula * factor.value), unit="bytes", source=Source.DERIVED, note=note)
    return Bucket(name="activations", amount=amount, how=how)


def _speculative(model: Model, layout: Layout, serving: Serving) -> Bucket:
    """The draft layers' weights; their cache is among the KV layers."""
    layers = draft_layers(model, serving)
    found = draft_bytes(model, layout, serving)
    if found is None:
        why = "config.json declares no draft layers: a separate draft is not counted without its checkpoint (--draft)"
        if layers:
            why = f"the form of {model.kind()}'s draft layers was not read from an engine"
        amount = unknown("bytes", why)
    else:
        note = f"{layers} draft layer{'s' if layers > 1 else ''} like the last one; the head is the model's"
        amount = Quantity(value=found, unit="bytes", source=Source.DERIVED, note=note)
    return Bucket(name="speculative", amount=amount, how=f"{serving.spec_tokens} drafted tokens")


def _separate(draft: Draft, serving: Serving) -> Bucket:
    """The weights of a draft of its own; its cache is among the KV layers."""
    if draft.weights is None:
        amount = unknown("bytes", f"the draft {draft.name}: {draft.why}")
    else:
        amount = Quantity(value=draft.weights, unit="bytes", source=Source.DERIVED, note=f"the draft {draft.name}")
    return Bucket(name="speculative", amount=amount, how=f"{serving.spec_tokens} drafted tokens")


def _graphs(serving: Serving, calibration: Calibration) -> Bucket:
    if serving.eager:
        return Bucket(
            name="graphs",
            amount=Quantity(value=0, unit="bytes", source=Source.DECLARED, note="--enforce-eager"),
            how="nothing is captured",
        )
    found = calibration.graphs
    amount = (
        unknown("bytes", "captured graphs depend on engine and device; a log of one run calibrates it (--from-log)")
        if found is None
        else Quantity(value=int(found.value), unit="bytes", source=Source.MEASURED, note=found.note)
    )
    return Bucket(name="graphs", amount=amount, how="graph capture")


def _runtime(calibration: Calibration) -> Bucket:
    found = calibration.runtime
    amount = (
        unknown("bytes", "driver context and collective buffers depend on the device; a log calibrates it (--from-log)")
        if found is None
        else Quantity(value=int(found.value), unit="bytes", source=Source.MEASURED, note=found.note)
    )
    return Bucket(name="runtime", amount=amount, how="driver context, collectives' buffers, fragments")
