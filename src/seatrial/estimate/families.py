"""What the engine's classes of a family have beside the common decoder layer: norms, biases, positions, routers.

In: a model_type. Out: its `Family`; the common form for those that differ in nothing. Each value was read from vLLM
0.32's class (vllm/model_executor/models/*.py) and compared with the parameters that it builds; `compared.py` lists the
families that were found equal.
"""

from __future__ import annotations

from seatrial.core.record import Record
from seatrial.estimate.model import Model

# True or False for always or never, or the field that says so with its default in transformers' class.
Bias = bool | tuple[str, bool]


class Family(Record):
    """`norms`: of the hidden size in each layer; `expert_norms` more in layers with experts.

    `norm`: "weight" (RMSNorm, or LayerNorm without a bias), "bias" (LayerNorm with one), "none" (no parameters).
    `qkv`, `out`, `mlp`: whether the projections have a bias; `head_bias` that of lm_head. `positions`: rows of learned
    position embeddings beyond the context, None for no such table. `float_router`: the router is kept in float32.
    `router_bias`: router and experts have one. `correction`: each expert has a float32 correction bias.
    `whole_qk_norm`: norms over all heads are kept whole on every rank. `whole_mlp`: the MLP is not cut.
    """

    norms: int = 2
    expert_norms: int = 0
    norm: str = "weight"
    qkv: Bias = ("attention_bias", False)
    out: Bias = False
    mlp: Bias = ("mlp_bias", False)
    head_bias: bool = False
    positions: int | None = None
    float_router: bool = False
    router_bias: bool = False
    correction: bool = False
    whole_qk_norm: bool = False
    whole_mlp: bool = False


COMMON = Family()
QKV = Family(qkv=True)
GPT2 = Family(norm="bias", qkv=True, out=True, mlp=True, positions=0)
# Encoders without a head: their one norm outside the layers stands behind the embeddings.
BERTS = ("bert", "roberta", "xlm-roberta")
FAMILIES: dict[str, Family] = {
    **dict.fromkeys(
        ("qwen2", "qwen2_moe", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"),
        Family(qkv=("attention_bias", True)),
    ),
    "llama": Family(out=("attention_bias", False)),
    "gpt_oss": Family(qkv=("attention_bias", True), out=("attention_bias", True), router_bias=True),
    "gemma2": Family(norms=4),
    "gemma3_text": Family(norms=4),
    "gemma4_text": Family(norms=4, expert_norms=3),
    "nemotron_h": Family(norms=1, float_router=True, correction=True),
    "minimax_m2": Family(float_router=True),
    "axk1": Family(norms=3, correction=True),
    "cohere": Family(norms=1),
    "cohere2": Family(norms=1),
    "cohere2_moe": Family(norms=1),
    "ernie4_5_moe": Family(
        qkv=("use_bias", False), out=("use_bias", False), mlp=("use_bias", False), float_router=True, correction=True
    ),
    "exaone_moe": Family(correction=True),
    "falcon": Family(norm="bias", qkv=("bias", False), out=("bias", False), mlp=("bias", False)),
    "flex_olmo": Family(whole_qk_norm=True),
    "olmo2": Family(whole_qk_norm=True),
    "olmo3": Family(whole_qk_norm=True),
    "olmoe": Family(whole_qk_norm=True),
    "nemotron-nas": Family(out=("attention_bias", False)),
    "olmo": Family(norm="none"),
    "glm4": Family(norms=4),
    "gpt2": GPT2,
    "gpt_bigcode": Family(norm="bias", qkv=True, out=True, mlp=True, positions=0, whole_mlp=True),
    "gpt_neox": Family(norm="bias", qkv=("attention_bias", True), out=("attention_bias", True), mlp=True),
    "gptj": Family(norms=1, norm="bias", qkv=False, mlp=True, head_bias=True),
    "hyperclovax": Family(out=("attention_bias", False)),
    "jais2": Family(norm="bias", qkv=("attention_bias", True), out=("attention_bias", True), mlp=("mlp_bias", True)),
    "laguna": Family(correction=True),
    "mamba": Family(norms=1),
    "mamba2": Family(norms=1),
    "falcon_mamba": Family(norms=1),
    **dict.fromkeys(BERTS, Family(norm="bias", qkv=True, out=True, mlp=True)),
    "opt": Family(norm="bias", qkv=("enable_bias", True), out=("enable_bias", True), mlp=("enable_bias", True),
                  positions=2),
    "phi": Family(norms=1, norm="bias", qkv=True, out=True, mlp=True),
    "stablelm": Family(norm="bias", qkv=("use_qkv_bias", False)),
    "starcoder2": Family(norm="bias", qkv=("use_bias", True), out=("use_bias", True), mlp=("use_bias", True)),
}  # fmt: skip
# Families whose class is known to have another form than the formulas here, and what it is.
UNLIKE: dict[str, str] = {
    "modernbert": "ModernBERT's embeddings and heads",
    "nomic_bert": "Nomic BERT's embeddings and heads",
    "clip_text_model": "the two towers of CLIP",
    "siglip_text_model": "the two towers of SigLIP",
    "embedding_gemma2_text": "EmbeddingGemma 2's per-layer inputs and projections",
    "openai_privacy_filter": "the classifier of OpenAI's privacy filter",
    "deepseek_v4": "the compressors, output groups and hyper-connections of DeepSeek-V4",
    "deepseek_v41": "the compressors, output groups and hyper-connections of DeepSeek-V4.1",
    "hrm_text": "the two stacks of HRM",
    "hy_v4": "the hyper-connections and output gates of HY-V4",
    "zamba2": "the shared blocks of Zamba 2 with their adapters",
    "inkling_text": "the convolutions and relative positions of Inkling",
    "gemma3n_text": "the per-layer inputs and AltUp of Gemma 3n",
}


def family(model: Model) -> Family:
    return FAMILIES.get(model.kind(), COMMON)


def biased(model: Model, bias: Bias) -> bool:
    """Whether the bias is there."""
    if isinstance(bias, bool):
        return bias
    stated = model.flag(bias[0])
    return bias[1] if stated is None else stated
