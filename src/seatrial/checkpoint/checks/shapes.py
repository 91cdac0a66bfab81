"""Shapes against the config: the projections, norms and embeddings whose sizes the config's numbers fix."""

from __future__ import annotations

import re
from collections.abc import Iterator

from seatrial.checkpoint.attention import Mixer
from seatrial.checkpoint.checks.facts import Facts
from seatrial.checkpoint.codes import note
from seatrial.checkpoint.components import serves
from seatrial.checkpoint.model_codes import DTYPE_DIFFERS, SHAPE, VOCABULARY_ROWS
from seatrial.checkpoint.names import Group
from seatrial.core.finding import Finding

FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
LEAF = re.compile(r"(?:self_attn|attn|attention|mlp|feed_forward|block_sparse_moe|experts\.\*|mixer)\.(\w+)\.weight$")
Shape = tuple[int, ...]


def check(facts: Facts) -> list[Finding]:
    """Each group of which the config fixes the shape; only full-width floats, since packed weights have others."""
    if facts.known != "headers":
        return []
    found = _embeddings(facts)
    expected = _expected(facts)
    for tail, group in facts.language_layers():
        match = LEAF.search(tail)
        if match is None or "shared" in tail or serves(group.pattern):
            continue
        key = ("expert." if ".experts." in f".{tail}" else "") + match[1]
        wanted = expected.get(key)
        if wanted:
            found += _wrong(group, wanted)
    return [*found, *_dtype(facts)]


def _wrong(group: Group, wanted: set[Shape]) -> list[Finding]:
    found = []
    for dtype, shape in group.kinds:
        if dtype in FLOATS and shape not in wanted:
            given = " or ".join(str(list(s)) for s in sorted(wanted))
            text = f"has shape {list(shape)}; the config's numbers give {given}"
            found.append(note(SHAPE, group.pattern, text))
    return found[:3]


def _expected(facts: Facts) -> dict[str, set[Shape]]:
    """Shapes by the module's own name; several where layers differ."""
    hidden = facts.frame.hidden_size
    rows: dict[str, set[Shape]] = {}
    if not hidden:
        return rows

    def add(name: str, out: int | None, into: int | None) -> None:
        if out and into:
            rows.setdefault(name, set()).add((out, into))

    for mixer in facts.attention.mixers:
        for name, out, into in _projections(mixer, hidden, gated=bool(facts.attention.output_gate)):
            add(name, out, into)
    for size in {s for s in facts.ffn.sizes if s}:
        for name in ("gate_proj", "up_proj"):
            add(name, size, hidden)
        add("down_proj", hidden, size)
    moe = facts.ffn.moe
    if moe is not None and moe.intermediate_size:
        width = moe.latent_size or hidden
        for name in ("gate_proj", "up_proj", "w1", "w3"):
            add(f"expert.{name}", moe.intermediate_size, width)
        for name in ("down_proj", "w2"):
            add(f"expert.{name}", width, moe.intermediate_size)
    return rows


def _projections(mixer: Mixer, hidden: int, *, gated: bool) -> Iterator[tuple[str, int | None, int | None]]:
    n, k, d, v = mixer.heads, mixer.kv_heads, mixer.head_dim, mixer.value_head_dim
    if mixer.kind in ("GQA", "MQA", "MHA") and n and k and d:
        yield "q_proj", n * d * (2 if gated else 1), hidden
        yield "k_proj", k * d, hidden
        yield "v_proj", k * (v or d), hidden
        yield "o_proj", hidden, n * (v or d)
    if mixer.kind == "MLA" and n and d and mixer.kv_lora_rank and v:
        yield "kv_a_proj_with_mqa", mixer.kv_lora_rank + (mixer.rope_dim or 0), hidden
        yield "kv_b_proj", n * ((mixer.nope_dim or 0) + v), mixer.kv_lora_rank
        yield "o_proj", hidden, n * v
        yield "q_a_proj", mixer.q_lora_rank, hidden
        yield "q_b_proj", n * d, mixer.q_lora_rank
        yield "q_proj", n * d, hidden


def _embeddings(facts: Facts) -> list[Finding]:
    """Rows may be padded beyond the vocabulary, never fewer; columns are the hidden size."""
    hidden, vocabulary = facts.frame.hidden_size, facts.frame.vocab_size
    found: list[Finding] = []
    for part, group in facts.groups:
        if part not in ("embedding", "head") or "*" in group.pattern or not group.pattern.endswith("weight"):
            continue
        for dtype, shape in group.kinds:
            if len(shape) != 2 or dtype not in FLOATS or "position" in group.pattern or "wpe" in group.pattern:
                continue
            if hidden and shape[1] != hidden:
                text = f"has rows of {shape[1]} elements; hidden_size is {hidden}"
                found.append(note(SHAPE, group.pattern, text))
            elif vocabulary and shape[0] < vocabulary:
                text = f"has {shape[0]} rows; vocab_size is {vocabulary}"
                found.append(note(SHAPE, group.pattern, text))
            elif vocabulary and shape[0] > vocabulary:
                text = f"has {shape[0]} rows for a vocab_size of {vocabulary}"
                found.append(note(VOCABULARY_ROWS, group.pattern, text))
    return found


def _dtype(facts: Facts) -> list[Finding]:
    """The config's dtype against that of most full-width weights (quantised checkpoints keep theirs for the rest)."""
    counts: dict[str, int] = {}
    for _, group in facts.groups:
        for (dtype, shape), count in group.kinds.items():
            if dtype in ("F32", "F16", "BF16") and len(shape) > 1:
                counts[dtype] = counts.get(dtype, 0) + count
    most = max(counts, key=lambda d: counts[d], default=None)
    if facts.frame.dtype and most and most != facts.frame.dtype and facts.quantization is None:
        text = f"is {facts.frame.dtype}; most weights are {most}"
        return [note(DTYPE_DIFFERS, "config.json: dtype", text)]
    return []
