"""What the checkpoint's own draft layers (MTP) take on a rank: their weights and their KV cache.

vLLM 0.32 builds each as a decoder layer like the model's last one, with a projection of embedding and hidden state to
one (2 x hidden to hidden) and three norms. All declared layers are built, however many tokens are drafted, on the last
stage. Embedding and head are then the model's own; with pipeline stages the embedding is loaded once more
(vllm/v1/spec_decode/llm_base_proposer.py). Compared with the engine's parameters for DeepSeek-V3 and Qwen3.5: equal.
"""

from __future__ import annotations

from seatrial.checkpoint.attention import Mixer
from seatrial.estimate.layout import Layout, Serving
from seatrial.estimate.matrices_attention import mixer_matrices
from seatrial.estimate.matrices_ffn import ffn_matrices
from seatrial.estimate.model import Model
from seatrial.estimate.schemes import Schemes
from seatrial.estimate.storage import bytes_on_rank
from seatrial.estimate.weights import matrices

# By model_type of config.json, how vLLM 0.32's draft class (models/*_mtp.py) keeps the projection: whole on every rank,
# or cut by tensor parallelism. Families that are not here have another form or no draft class, or theirs was not read.
WHOLE = {
    "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "glm4_moe", "glm4_moe_lite", "mimo", "longcat_flash", "hy_v3",
}  # fmt: skip
CUT = {"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"}
# Norms of the block, and those before the projection and after the block.
NORMS = 2 + 3


def draft_layers(model: Model, serving: Serving) -> int:
    """How many draft layers the engine builds of this checkpoint; 0 where nothing is drafted or none are declared."""
    return model.card.mtp.declared if serving.spec_tokens and serving.own_draft else 0


def draft_mixer(model: Model) -> int | None:
    """The index of the mixer that a draft layer has: the model's last one that attends to everything."""
    mixers: tuple[Mixer, ...] = model.card.attention.mixers
    for index in reversed(model.card.attention.pattern):
        mixer = mixers[index]
        if mixer.state is None and not mixer.window and not mixer.chunk and mixer.kind != "none":
            return index
    return None


def draft_bytes(model: Model, layout: Layout, serving: Serving) -> int | None:
    """Bytes of the draft layers' weights on a rank of the last stage; None where their form is not known."""
    count = draft_layers(model, serving)
    chosen = draft_mixer(model)
    if not count or chosen is None or model.kind() not in WHOLE | CUT:
        return None
    last = model.layers() - 1
    like = max(n for n, m in enumerate(model.card.attention.pattern) if m == chosen)
    schemes, size, hidden = Schemes(model), model.dtype_bytes(), model.hidden()
    made = mixer_matrices(model, model.card.attention.mixers[chosen], (like,), layout.tp)
    made += [m for m in ffn_matrices(model) if last in m.layers]
    total = sum(bytes_on_rank(m, layout, schemes.of(m, max(m.layers)), size) for m in made)
    projection = 2 * hidden * hidden // (layout.tp if model.kind() in CUT else 1)
    again = 0
    if layout.pp > 1:
        embedding = next(m for m in matrices(model, layout.tp, language_only=True) if m.part == "embedding")
        again = bytes_on_rank(embedding, layout, schemes.of(embedding, 0), size)
    return count * (total + size * (projection + NORMS * hidden)) + again
