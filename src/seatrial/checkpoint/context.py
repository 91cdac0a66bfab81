"""The theoretical context: what the config promises. A practical figure needs memory and a run, and is not here."""

from __future__ import annotations

from seatrial.checkpoint.config import View
from seatrial.checkpoint.rope import Rope
from seatrial.core.quantity import Quantity, Source, unknown

# vLLM's keys, in its order; the smallest of those that are there counts.
KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_target_positions", "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
# Scalings whose max_position_embeddings is already the scaled one (vLLM 0.32's rule).
ALREADY_SCALED = {"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "default"}


def read_context(text: View, rope: Rope) -> Quantity:
    """Tokens, as vLLM derives its default max_model_len from the config (the tokenizer's own limit aside)."""
    found = {key: n for key in KEYS if (n := text.whole(f"context.{key}", key, least=1)) is not None}
    if not found:
        return unknown("tokens", "no field of config.json states a length (vLLM would assume 2048)")
    key = min(found, key=lambda k: found[k])
    if "model_max_length" in found:
        key = "model_max_length"
    tokens = found[key]
    text.ledger.sources["context"] = f"config.json: {text.path}{key}"
    factors = [k.factor for k in rope.kinds.values() if k.kind not in ALREADY_SCALED and k.factor]
    if factors and "gemma3" not in str(text.data.get("model_type")):
        scaled = int(tokens * factors[0])
        return Quantity(value=scaled, unit="tokens", source=Source.DERIVED, note=f"{key} {tokens} x rope {factors[0]}")
    return Quantity(value=tokens, unit="tokens", source=Source.DECLARED, note=f"config.json: {text.path}{key}")
