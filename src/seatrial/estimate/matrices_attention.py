"""The weights of what mixes tokens: attention by heads, latent attention, its sparse indexer, linear and Mamba
layers.
"""

from __future__ import annotations

from seatrial.checkpoint.attention import Mixer
from seatrial.estimate.indexers import without_indexer
from seatrial.estimate.matrices import Matrix, linear, vector
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven, need

# Families whose q, k and v projections always have a bias, or follow a field of their own (transformers' classes).
QKV_BIAS = ("qwen2", "qwen2_moe", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text", "gpt_oss")
OUT_BIAS = ("gpt_oss", "llama")  # attention_bias covers the output projection too


def mixer_matrices(model: Model, mixer: Mixer, layers: tuple[int, ...], tp: int) -> list[Matrix]:
    """The weights of one kind of mixer in all its layers; norms before it belong to the frame."""
    if mixer.kind == "none":
        return []
    if mixer.kind in ("GQA", "MQA", "MHA"):
        return _heads(model, mixer, layers)
    if mixer.kind == "MLA" and mixer.kv_lora_rank:
        return _latent(model, mixer, layers)
    if mixer.kind == "gated-deltanet":
        return _delta_net(model, mixer, layers)
    if mixer.kind == "mamba2":
        return _mamba2(model, mixer, layers, tp)
    if mixer.kind == "unknown" and not mixer.heads:
        raise Lacking("num_attention_heads", "is missing from config.json")
    raise NotModelled(f"the weights of a layer of kind {mixer.short()!r}")


def _heads(model: Model, mixer: Mixer, layers: tuple[int, ...]) -> list[Matrix]:
    attention = model.card.attention
    kind, hidden = model.kind(), model.hidden()
    heads, kv = need(mixer.heads, "num_attention_heads"), need(mixer.kv_heads, "num_key_value_heads")
    dim = need(mixer.head_dim, "head_dim")
    dim_v = mixer.value_head_dim or dim
    stated = attention.bias
    bias = kind in QKV_BIAS if stated is None else stated
    query = (
        heads * dim * (2 if attention.output_gate or kind in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text") else 1)
    )
    made = [
        Matrix(
            part="attention", module="self_attn.qkv_proj", rows=(query, kv * dim, kv * dim_v), cols=hidden,
            layers=layers, split="rows", kv_rows=(False, True, True), head=dim, quantizable=True, bias=bias,
        ),
        linear("attention", "self_attn.o_proj", hidden, heads * dim_v, layers, "cols", bias=bias and kind in OUT_BIAS),
    ]  # fmt: skip
    if attention.qk_norm == "per head":
        made += [vector("norm", f"self_attn.{n}_norm", dim, layers) for n in "qk"]
    elif attention.qk_norm == "whole":
        made += [
            vector("norm", "self_attn.q_norm", heads * dim, layers, "rows"),
            vector("norm", "self_attn.k_norm", kv * dim, layers, "kv", head=dim),
        ]
    elif attention.qk_norm == "yes" and kind not in ("llama4_text", "llama4"):
        # (Llama 4 normalises q and k without a weight.)
        raise Lacking("qk_norm_type", "config.json says that q and k are normalised, but not how")
    if attention.sinks:
        made.append(vector("attention", "self_attn.sinks", heads, layers, "rows"))
    return made


def _latent(model: Model, mixer: Mixer, layers: tuple[int, ...]) -> list[Matrix]:
    """DeepSeek's MLA: the two down-projections are on every rank, the up-projections are cut by heads."""
    hidden, heads = model.hidden(), need(mixer.heads, "num_attention_heads")
    rank, rope = need(mixer.kv_lora_rank, "kv_lora_rank"), need(mixer.rope_dim, "qk_rope_head_dim")
    nope, value = need(mixer.nope_dim, "qk_nope_head_dim"), need(mixer.value_head_dim, "v_head_dim")
    q_rank = mixer.q_lora_rank
    if q_rank:
        made = [
            linear("attention", "self_attn.fused_qkv_a_proj", (q_rank, rank + rope), hidden, layers, "none"),
            vector("norm", "self_attn.q_a_layernorm", q_rank, layers),
            linear("attention", "self_attn.q_b_proj", heads * (nope + rope), q_rank, layers, "rows"),
        ]
    else:
        made = [
            linear("attention", "self_attn.kv_a_proj_with_mqa", rank + rope, hidden, layers, "none"),
            linear("attention", "self_attn.q_proj", heads * (nope + rope), hidden, layers, "rows"),
        ]
    made += [
        vector("norm", "self_attn.kv_a_layernorm", rank, layers),
        linear("attention", "self_attn.kv_b_proj", heads * (nope + value), rank, layers, "rows"),
        linear("attention", "self_attn.o_proj", hidden, heads * value, layers, "cols"),
    ]
    if mixer.index_topk:
        attention = model.card.attention
        count, dim = need(attention.index_heads, "index_n_heads"), need(attention.index_head_dim, "index_head_dim")
        shared = without_indexer(model)
        layers = tuple(i for i in layers if i not in shared)
    if mixer.index_topk and layers:
        made += [
            linear("indexer", "self_attn.indexer.wq_b", count * dim, q_rank or hidden, layers, "none"),
            Matrix(
                part="indexer",
                module="self_attn.indexer.wk_weights_proj",
                rows=(dim, count),
                cols=hidden,
                layers=layers,
            ),
            vector("norm", "self_attn.indexer.k_norm.weight", dim, layers, dtype="F32"),
            vector("norm", "self_attn.indexer.k_norm.bias", dim, layers, dtype="F32"),
        ]
    return made


def _delta_net(model: Model, mixer: Mixer, layers: tuple[int, ...]) -> list[Matrix]:
    """Gated DeltaNet (Qwen3-Next, Qwen3.5)."""
    state = mixer.state
    hidden = model.hidden()
    keys = need(state.key_heads if state else None, "linear_num_key_heads")
    values = need(state.heads if state else None, "linear_num_value_heads")
    key_dim, dim = (
        need(state.key_dim if state else None, "linear_key_head_dim"),
        need(state.head_dim if state else None, "linear_value_head_dim"),
    )
    kernel = need(state.kernel if state else None, "linear_conv_kernel_dim")
    key, value = keys * key_dim, values * dim
    part = "linear-attention"
    plain = {"part": part, "layers": layers, "split": "rows"}
    return [
        linear("linear-attention", "linear_attn.in_proj_qkvz", (key, key, value, value), hidden, layers, "rows"),
        linear("linear-attention", "linear_attn.in_proj_ba", (values, values), hidden, layers, "rows"),
        Matrix(module="linear_attn.conv1d", rows=(2 * key + value,), cols=kernel, tokens="all", **plain),  # type: ignore[arg-type]
        vector("linear-attention", "linear_attn.A_log", values, layers, "rows", dtype="F32"),
        vector("linear-attention", "linear_attn.dt_bias", values, layers, "rows"),
        vector("norm", "linear_attn.norm", dim, layers),
        linear("linear-attention", "linear_attn.out_proj", hidden, value, layers, "cols"),
    ]


def _mamba2(model: Model, mixer: Mixer, layers: tuple[int, ...], tp: int) -> list[Matrix]:
    """Mamba 2 (Nemotron-H). Groups that do not divide are copied so that each rank has those of its heads."""
    state = mixer.state
    hidden = model.hidden()
    heads, dim = (
        need(state.heads if state else None, "mamba_num_heads"),
        need(state.head_dim if state else None, "mamba_head_dim"),
    )
    size, groups = (
        need(state.state_size if state else None, "ssm_state_size"),
        need(state.groups if state else None, "n_groups"),
    )
    kernel = need(state.kernel if state else None, "conv_kernel")
    inner = heads * dim
    if groups % tp and groups != 1:
        raise Uneven(f"mixer: {groups} Mamba groups (more than one) do not divide by tensor-parallel size {tp}")
    if groups % tp:
        groups = tp
    gate = groups * size
    bias = bool(model.flag("use_conv_bias"))
    return [
        linear("linear-attention", "mixer.in_proj", (inner, inner, gate, gate, heads), hidden, layers, "rows"),
        Matrix(
            part="linear-attention", module="mixer.conv1d", rows=(inner, gate, gate), cols=kernel, layers=layers,
            split="rows", bias=bias,
        ),
        vector("linear-attention", "mixer.A", heads, layers, "rows", dtype="F32"),
        vector("linear-attention", "mixer.D", heads, layers, "rows"),
        vector("linear-attention", "mixer.dt_bias", heads, layers, "rows"),
        vector("norm", "mixer.norm", inner, layers, "rows"),
        linear("linear-attention", "mixer.out_proj", hidden, inner, layers, "cols"),
    ]  # fmt: skip
