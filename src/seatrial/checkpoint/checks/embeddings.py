"""Embedding and output layer: whether both are there, and what the config says about tying them."""

from __future__ import annotations

from seatrial.checkpoint.checks.facts import Facts
from seatrial.checkpoint.codes import note
from seatrial.checkpoint.model_codes import HEAD_MISSING, HEAD_SPARE, NO_EMBEDDING, TIE_UNKNOWN
from seatrial.core.finding import Finding


def check(facts: Facts) -> list[Finding]:
    heads = [g for part, g in facts.groups if part == "head"]
    embeddings = [g for part, g in facts.groups if part == "embedding"]
    tied = facts.frame.tied_embeddings
    causal = any(name.endswith(("ForCausalLM", "ForConditionalGeneration")) for name in facts.frame.architectures)
    found: list[Finding] = []
    if not embeddings and facts.frame.layers:
        found.append(note(NO_EMBEDDING, "embed_tokens", "no tensor looks like the embedding"))
    if tied is False and not heads and causal:
        text = "is missing, and the config does not tie it to the embedding"
        found.append(note(HEAD_MISSING, "lm_head.weight", text))
    if tied and heads:
        found.append(note(HEAD_SPARE, heads[0].example(), "is there, though the config ties it to the embedding"))
    if tied is None and causal:
        guess = "there is an output layer, so it is not tied" if heads else "there is none, so it must be tied"
        found.append(note(TIE_UNKNOWN, "config.json: tie_word_embeddings", f"is not stated; {guess}"))
    return found
