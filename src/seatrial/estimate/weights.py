"""Bytes of weights per rank, by part of the model, from the config's shapes; checked against the headers where they
are.

In: a model, a layout. Out: `WeightBytes` per pipeline stage. Raises Lacking, NotModelled, or Uneven with the numbers.
"""

from __future__ import annotations

import re

from seatrial.checkpoint.config import AUDIO_SECTIONS
from seatrial.core.record import Record
from seatrial.estimate.compared import never_compared
from seatrial.estimate.families import BERTS, UNLIKE, family
from seatrial.estimate.layout import Layout
from seatrial.estimate.matrices import Matrix
from seatrial.estimate.matrices_attention import mixer_matrices
from seatrial.estimate.matrices_ffn import ffn_matrices
from seatrial.estimate.matrices_frame import layer_norms, norm, per_layer_inputs, positions
from seatrial.estimate.matrices_heads import HEADS
from seatrial.estimate.matrices_towers import tower_matrices
from seatrial.estimate.matrices_whisper import whisper_matrices
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven
from seatrial.estimate.schemes import Schemes
from seatrial.estimate.storage import bytes_on_rank


class StageWeights(Record):
    """One pipeline stage's rank: bytes by part, in the parts' order."""

    stage: int
    layers: int
    parts: dict[str, int]

    def total(self) -> int:
        return sum(self.parts.values())


class WeightBytes(Record):
    """`stages` by number; `notes` are what was assumed or left out, in words. Not `exact`: split by tensors' names."""

    stages: tuple[StageWeights, ...]
    notes: tuple[str, ...] = ()
    exact: bool = True

    def largest(self) -> StageWeights:
        return max(self.stages, key=lambda s: s.total())


# What the classes of these families hold on every pipeline stage, though only one uses it (vLLM 0.32, compared with its
# parameters); the others in COMPARED hold the embedding on the first stage, the last norm and the head on the last.
ON_EVERY_STAGE: dict[str, tuple[str, ...]] = {
    "qwen3_moe": ("embed_tokens", "lm_head", "norm"),
    "qwen3_vl_moe_text": ("embed_tokens", "lm_head", "norm"),
    "mixtral": ("embed_tokens", "lm_head", "norm"),
    "gpt_oss": ("embed_tokens", "lm_head", "norm"),
    "nemotron_h": ("embed_tokens", "lm_head", "norm"),
    "qwen3_5_moe_text": ("embed_tokens",),
    "qwen3_5_text": ("embed_tokens",),
    "gemma4_text": ("embed_tokens", "norm"),
}
COMPARED = {*ON_EVERY_STAGE, "llama", "qwen3", "qwen3_vl_text", "deepseek_v3", "kimi_k2", "minimax_m2", "glm_moe_dsa"}


# Architectures with another head than a language model's, or with a tower described elsewhere.
OTHER_HEAD = re.compile("Classification|Reward|Ranking|Retrieval|JointSchema|BertForMaskedLM|Splade|ColBERT|BgeM3")


def matrices(model: Model, tp: int, *, language_only: bool = False) -> list[Matrix]:
    """Every weight of the engine's model."""
    card = model.card
    hidden, vocabulary = model.hidden(), model.vocabulary()
    form = family(model)
    if unlike := UNLIKE.get(model.kind()):
        raise NotModelled(f"the weights of model_type {model.kind()!r}: {unlike}")
    heads: list[Matrix] = []
    for name in card.architecture.architectures:
        if name in HEADS:
            heads = HEADS[name](model)
        elif OTHER_HEAD.search(name):
            raise NotModelled(f"the head of {name}")
    if model.kind() == "whisper":
        return whisper_matrices(model)
    headless = model.kind() in BERTS
    if card.architecture.tied_embeddings is None and not headless:
        raise Lacking(
            "tie_word_embeddings", "neither config.json nor the class's default says whether the head is the embedding"
        )
    made = [
        Matrix(
            part="embedding", module="embed_tokens", rows=(vocabulary,), cols=hidden, split="vocab", stage="first",
            tokens="none",
        )
    ]  # fmt: skip
    if not card.architecture.tied_embeddings and not headless:
        made.append(
            Matrix(
                part="head", module="lm_head", rows=(vocabulary,), cols=hidden, split="vocab", stage="last",
                bias=form.head_bias,
            )
        )  # fmt: skip
    made += heads + positions(model) + per_layer_inputs(model)
    made += [norm(model, "norm", ())]
    if not card.attention.pattern:
        raise Lacking("num_attention_heads", "config.json does not say what the layers' attention is")
    for i, mixer in enumerate(card.attention.mixers):
        where = tuple(n for n, m in enumerate(card.attention.pattern) if m == i)
        made += mixer_matrices(model, mixer, where, tp)
    made += ffn_matrices(model)
    made += layer_norms(model)
    sparse = tuple(i for i, k in enumerate(card.feed_forward.pattern) if "moe" in k)
    made += [norm(model, "expert_layernorm", sparse)] * (form.expert_norms if sparse else 0)
    if not language_only:
        if heard := next((k for k in AUDIO_SECTIONS if isinstance(model.config.get(k), dict)), None):
            raise NotModelled(f"{heard}: the weights of the audio tower of {card.architecture.model_type!r}")
        if not model.vision() and any("ForConditionalGeneration" in a for a in card.architecture.architectures):
            raise Lacking("vision_config", "the architecture has a tower, but config.json does not describe it")
        made += tower_matrices(model)
    return made


def weight_bytes(model: Model, layout: Layout, *, language_only: bool = False) -> WeightBytes:
    """By stage and part."""
    schemes = Schemes(model)
    ranges = layout.stage_layers(model.layers())
    where = {layer: stage for stage, r in enumerate(ranges) for layer in r}
    parts: list[dict[str, int]] = [{} for _ in ranges]
    size = model.dtype_bytes()
    check_heads(model, layout.tp)
    for matrix in matrices(model, layout.tp, language_only=language_only):
        if matrix.layers:
            by_scheme: dict[str, int] = {}
            for layer in matrix.layers:
                scheme = schemes.of(matrix, layer)
                if scheme.format not in by_scheme:
                    by_scheme[scheme.format] = bytes_on_rank(matrix, layout, scheme, size)
                part = parts[where[layer]]
                part[matrix.part] = part.get(matrix.part, 0) + by_scheme[scheme.format]
        else:
            amount = bytes_on_rank(matrix, layout, schemes.of(matrix, 0), size)
            where_held = "every" if matrix.module in ON_EVERY_STAGE.get(model.kind(), ()) else matrix.stage
            stages = {"first": [0], "last": [layout.pp - 1], "every": list(range(layout.pp))}[where_held]
            for stage in stages:
                parts[stage][matrix.part] = parts[stage].get(matrix.part, 0) + amount
    if model.card.architecture.tied_embeddings and "embedding" not in parts[-1]:
        # The head's stage needs its own copy of the embedding.
        parts[-1]["head"] = parts[0]["embedding"]
    for layer in _scaled_layers(model, schemes):
        stage = where[layer]
        parts[stage]["kv-scales"] = parts[stage].get("kv-scales", 0) + 4 * size
    notes = list(schemes.notes)
    notes += [n for n in (never_compared(model.kind()),) if n]
    if layout.pp > 1 and model.kind() not in COMPARED:
        notes.append(f"what stages of {model.kind() or 'this class'} hold twice was not compared with the engine")
    if model.ignored_quantization():
        notes.append("quantization_config has no quant_method: the engine ignores it and builds plain weights")
    stages_ = tuple(
        StageWeights(stage=i, layers=len(r), parts=dict(sorted(p.items(), key=lambda x: -x[1])))
        for i, (r, p) in enumerate(zip(ranges, parts, strict=True))
    )
    return WeightBytes(stages=stages_, notes=tuple(notes))


def check_heads(model: Model, tp: int) -> None:
    """The engine's own first check, in its words and with the numbers."""
    heads = model.card.attention.heads
    if heads and heads % tp:
        raise Uneven(f"{heads} attention heads do not divide by tensor-parallel size {tp}")


def _scaled_layers(model: Model, schemes: Schemes) -> list[int]:
    """Layers whose attention has the four scale parameters of a quantised checkpoint (q, k, v, probabilities)."""
    if not schemes.method.startswith(("fp8", "modelopt", "compressed-tensors")):
        return []
    latent_too = schemes.method.startswith("modelopt")
    pattern, mixers = model.card.attention.pattern, model.card.attention.mixers
    return [
        i
        for i, m in enumerate(pattern)
        if mixers[m].kind in ("GQA", "MQA", "MHA") or (mixers[m].kind == "MLA" and latent_too)
    ]
