"""The plan: memory per device, KV capacity, the verdict, the limiting resource and what could be changed.

In: a model, a layout, how it is to be served, the device. Out: `Plan`. A missing fact gives an inconclusive verdict
that
names the field; sizes that do not divide raise UsageError with the numbers.
Longer than 250 lines: the records of the answer stand beside the code that fills them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from seatrial.core.errors import UsageError
from seatrial.core.quantity import Quantity
from seatrial.core.record import Record
from seatrial.core.verdict import Outcome, failed, inconclusive, passed
from seatrial.estimate.calibrate import Calibration
from seatrial.estimate.draft_model import Draft, read_draft, with_draft
from seatrial.estimate.encoders import keeps_no_cache
from seatrial.estimate.engine_answer import EngineAnswer
from seatrial.estimate.engine_rules import EngineRules
from seatrial.estimate.header_weights import check, header_weights
from seatrial.estimate.kv_groups import Capacity, Pool, blocks_per_request, capacity, longest, pool
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.kv_specs import KvCache
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.memory import Memory, memory
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven, altered
from seatrial.estimate.schedule import settle
from seatrial.estimate.weights import WeightBytes, weight_bytes

BASELINE_LENGTH, BASELINE_REQUESTS = 131072, 16
Level = Literal["pass", "risk", "fail", "inconclusive"]


class Asked(Record):
    """What was asked for, complete: nothing in it is a default that is not shown."""

    length: int
    requests: int
    layout: Layout
    serving: Serving
    batched_tokens: int
    max_seqs: int


class Answer(Record):
    """Whether `requests` requests of `length` tokens are held at once. `needed` and `available` in bytes per device.

    `utilization`: the share of the device at which it would fit with the margin kept; None where it never does.
    """

    length: int
    requests: int
    level: Level
    needed: int | None
    available: int | None
    utilization: float | None
    why: str


class Most(Record):
    """What is possible at most: `tokens` as the engine would log them; with the margin kept, requests of the asked
    length and the longest context at the asked number of requests (both per replica). None: unknown, or no KV cache."""

    tokens: int | None
    requests: int | None
    length: int | None
    by_length: dict[int, int] = msgspec.field(default_factory=dict)


class Plan(Record):
    """The whole answer. `cache` and `weights` are None where a fact was lacking, which `outcome` then names."""

    checkpoint: str
    asked: Asked
    rules: EngineRules
    outcome: Outcome
    level: Level
    weights: WeightBytes | None
    cache: KvCache | None
    pool: Pool | None
    memory: Memory | None
    capacity: Capacity | None
    answer: Answer | None
    baseline: Answer | None
    most: Most
    limiting: str
    notes: tuple[str, ...]
    schema_version: int = 1


def make_plan(
    model: Model,
    layout: Layout,
    serving: Serving,
    rules: EngineRules,
    device: Quantity,
    *,
    requests: int | None = None,
    margin_share: float = 0.03,
    calibration: Calibration | None = None,
    engine: EngineAnswer | None = None,
    exact: WeightBytes | None = None,
    draft: Model | None = None,
) -> Plan:
    """Plan one configuration. `requests` of the full length are to be held at once (default: one), shared by replicas.

    `engine`: the engine's own answer, which then takes the place of the formulas for weights and cache.
    `exact`: weights per rank from a dry run, which take the place of the formulas for weights alone.
    `draft`: the checkpoint of a separate draft model, counted with its weights and its cache.
    """
    length, notes = _length(model, serving)
    if draft is not None:
        if not serving.spec_tokens:
            raise UsageError("a draft without drafted tokens drafts nothing", mend="Name how many: --spec-tokens N.")
        serving = altered(serving, own_draft=False)
    drafting: Draft | None = None
    serving = altered(serving, max_model_len=length)
    settled = settle(model, layout, serving, rules, device, length)
    serving, rules = settled.serving, settled.rules
    notes += settled.notes
    asked = Asked(
        length=length,
        requests=-(-(requests or 1) // layout.dp),
        layout=layout,
        serving=serving,
        batched_tokens=serving.max_num_batched_tokens or rules.batched_tokens,
        max_seqs=serving.max_num_seqs or rules.max_seqs,
    )
    notes += [n for n in (model.dtype_note(),) if n]
    notes += [n for n in (keeps_no_cache(model),) if n]
    base = _Empty(str(model.card.folder), asked, rules)
    try:
        if engine is not None:
            weights, cache = engine.weights, engine.cache
        else:
            weights = exact if exact is not None else _weights(model, layout)
            cache = kv_cache(model, layout, serving, rules)
        if draft is not None:
            drafting = read_draft(draft, layout, serving, rules, cache)
            cache = with_draft(cache, drafting, model.layers())
        made = pool(_stage_cache(cache, layout, model), serving, rules)
    except Uneven as exc:
        raise UsageError(f"{layout.words()} does not fit the model: {exc}", mend="Choose another size.") from exc
    except Lacking as exc:
        return base.without(f"{exc.field}: {exc.why}", notes)
    except NotModelled as exc:
        return base.without(f"no formula for {exc}", notes)
    notes += [n for n in (*weights.notes, *cache.notes) if n not in notes]
    if engine is not None:
        notes += [f"stand-in: {x}" for x in engine.placeholders]
    have = memory(model, weights, layout, serving, rules, device, margin_share, calibration or Calibration(), drafting)
    flight = in_flight(asked, rules, layout)
    room = have.for_kv
    answer = _answer(made, have, asked, cache, flight, asked.length, asked.requests)
    context = model.card.context.value
    baseline = None
    if not made.groups:
        notes.append(f"baseline {BASELINE_LENGTH} x {BASELINE_REQUESTS}: not applicable, there is no KV cache")
    elif context is None or context >= BASELINE_LENGTH:
        baseline = _answer(made, have, asked, cache, flight, BASELINE_LENGTH, BASELINE_REQUESTS)
    else:
        notes.append(f"baseline {BASELINE_LENGTH} x {BASELINE_REQUESTS}: not applicable, the context is {context}")
    held = None if room is None or not made.groups else capacity(made, room, length, flight, cache, serving)
    return Plan(
        checkpoint=str(model.card.folder),
        asked=asked,
        rules=rules,
        outcome=_outcome(answer),
        level=answer.level,
        weights=weights,
        cache=cache,
        pool=made,
        memory=have,
        capacity=held,
        answer=answer,
        baseline=baseline,
        most=_most(made, have, asked, cache, flight, held, model),
        limiting=_limiting(have, answer, asked, model),
        notes=tuple(notes),
    )


def _weights(model: Model, layout: Layout) -> WeightBytes:
    """From the shapes, checked against the headers; by the headers' names where a shape or a formula is lacking."""
    try:
        found = weight_bytes(model, layout)
    except (Lacking, NotModelled) as exc:
        if model.card.weights.known != "headers":
            raise
        return header_weights(model, layout, str(exc))
    if model.card.weights.known != "headers":
        note = "weights from config.json's shapes alone: there are no shards to compare with"
        return altered(found, notes=(*found.notes, note))
    held = check(model, found if layout == Layout() else weight_bytes(model, Layout()))
    if held is not None and held.differs():
        return altered(header_weights(model, layout, held.words()), notes=(*found.notes, held.words()))
    return found


class _Empty:
    """A plan that could not be made, with what is known all the same."""

    def __init__(self, checkpoint: str, asked: Asked, rules: EngineRules) -> None:
        self._checkpoint, self._asked, self._rules = checkpoint, asked, rules

    def without(self, why: str, notes: list[str]) -> Plan:
        return Plan(
            checkpoint=self._checkpoint, asked=self._asked, rules=self._rules, outcome=inconclusive(why),
            level="inconclusive", weights=None, cache=None, pool=None, memory=None, capacity=None, answer=None,
            baseline=None, most=Most(tokens=None, requests=None, length=None), limiting="a missing fact",
            notes=tuple(notes),
        )  # fmt: skip


class _Length(Record):
    value: int
    notes: list[str]


def _length(model: Model, serving: Serving) -> tuple[int, list[str]]:
    """The length to plan for: the asked one, else the model's own."""
    context = model.card.context.value
    if serving.max_model_len is not None:
        if context is not None and serving.max_model_len > context:
            return serving.max_model_len, [
                f"{serving.max_model_len} tokens are more than the model's own context of {int(context)}"
            ]
        return serving.max_model_len, []
    if context is None:
        raise UsageError(
            "the model's context is unknown: " + model.card.context.note, mend="Name it with --max-model-len."
        )
    return int(context), [f"--max-model-len was left out: the model's own {int(context)}"]


def in_flight(asked: Asked, rules: EngineRules, layout: Layout) -> int:
    """Tokens scheduled but not yet settled, for which windows keep their blocks (vLLM's max_in_flight_tokens)."""
    batches = layout.pp + 1 if rules.in_flight > 1 and layout.pp > 1 else max(rules.in_flight, layout.pp)
    return batches * asked.batched_tokens


def _stage_cache(cache: KvCache, layout: Layout, model: Model) -> KvCache:
    """The stage with the most cache bytes decides for all (blocks are the smallest of all ranks)."""
    if layout.pp == 1:
        return cache
    stages = layout.stage_layers(model.layers())
    if model.kind() in ("hrm_text", "zamba2"):
        raise NotModelled(f"pipeline stages of {model.kind()}: which of its caches a stage holds was not read")
    # Draft layers are numbered after the last one, and belong to the last stage.
    held = [[s for s in cache.specs if s.layer in r or (r is stages[-1] and s.layer >= r.stop)] for r in stages]
    return altered(cache, specs=tuple(max(held, key=lambda specs: sum(s.page for s in specs))))


def _answer(made: Pool, have: Memory, asked: Asked, cache: KvCache, flight: int, length: int, requests: int) -> Answer:
    each = blocks_per_request(made, length, flight, cache, asked.serving)
    needed = (requests * each + 1) * made.block_bytes
    room = have.for_kv
    if room is None:
        return Answer(
            length=length, requests=requests, level="inconclusive", needed=needed, available=None, utilization=None,
            why=f"the device's memory is unknown: {have.device.note}",
        )  # fmt: skip
    total = int(have.device.value or 0)
    known = (have.budget or 0) - room if asked.serving.kv_bytes is None else 0
    wanted = (known + needed + have.margin) / total if total else None
    level: Level = "pass" if needed + have.margin <= room else "risk" if needed <= room else "fail"
    if asked.serving.kv_bytes is not None:
        level = "pass" if needed <= room else "fail"
    lacking = f"; {', '.join(have.unknown)} unknown, covered by the margin" if have.unknown else ""
    kept = "" if made.groups else "; no KV cache is kept, a step holds what --max-num-batched-tokens allows"
    words = {
        "pass": "fits with the margin kept" + lacking + kept,
        "risk": "fits only without the margin" + lacking,
        "fail": f"needs {needed} bytes of KV cache per device, {max(room, 0)} are there",
    }
    return Answer(
        length=length, requests=requests, level=level, needed=needed, available=room,
        utilization=None if wanted is None or wanted > 1 else round(wanted, 4), why=words[level],
    )  # fmt: skip


def _outcome(answer: Answer) -> Outcome:
    if answer.level == "pass":
        return passed(answer.why)
    if answer.level == "fail":
        return failed(answer.why)
    return inconclusive(("risk: " if answer.level == "risk" else "") + answer.why)


def _most(
    made: Pool, have: Memory, asked: Asked, cache: KvCache, flight: int, held: Capacity | None, model: Model
) -> Most:
    room = have.for_kv
    if room is None or held is None:
        return Most(tokens=None, requests=None, length=None)
    bound = int(model.card.context.value or asked.length)
    room -= 0 if asked.serving.kv_bytes is not None else have.margin
    usable = max(0, room // made.block_bytes - 1) if made.block_bytes else 0

    def many(length: int) -> int:
        return usable // blocks_per_request(made, length, flight, cache, asked.serving)

    usual = (1024, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
    lengths = sorted({asked.length, *(n for n in usual if n <= bound)})
    return Most(
        tokens=held.tokens,
        requests=many(asked.length),
        length=longest(made, room, asked.requests, bound, flight, cache, asked.serving),
        by_length={n: many(n) for n in lengths},
    )


def _limiting(have: Memory, answer: Answer, asked: Asked, model: Model) -> str:
    """The resource that ends first, by name."""
    weights = next(int(b.amount.value or 0) for b in have.buckets if b.name == "weights")
    context = model.card.context.value
    if have.budget is not None and weights > have.budget:
        return f"device memory: the weights alone need {weights} of {have.budget} bytes"
    if have.for_kv is not None and have.for_kv <= 0:
        return "device memory: weights and activations leave nothing for the KV cache"
    if context is not None and asked.length > context:
        return f"the model's context of {int(context)} tokens"
    if asked.requests > asked.max_seqs:
        return f"the scheduler's limit of {asked.max_seqs} requests (--max-num-seqs)"
    if answer.level in ("fail", "risk"):
        return "KV cache memory"
    return "none: what was asked for fits" if answer.level == "pass" else "unknown"
