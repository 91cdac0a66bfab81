"""The weights of what mixes tokens: attention by heads, latent attention, its sparse indexer, linear and Mamba
layers.
"""

from __future__ import annotations

from seatrial.checkpoint.attention import Mixer
from seatrial.estimate.families import biased, family
from seatrial.estimate.indexers import without_indexer
from seatrial.estimate.matrices import Matrix, linear, vector
from seatrial.estimate.model import Lacking, Model, NotModelled, Uneven, need


def mixer_matrices(model: Model, mixer: Mixer, layers: tuple[int, ...], tp: int) -> list[Matrix]:
    """The weights of one kind of mixer in all its layers; norms before it belong to the frame."""
    if mixer.beside:
        return [m for part in mixer.parts() for m in mixer_matrices(model, part, layers, tp)]
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
    if mixer.kind == "mamba":
        return _mamba1(model, mixer, layers)
    if mixer.kind == "unknown" and not mixer.heads:
        raise Lacking("num_attention_heads", "is missing from config.json")
    raise NotModelled(f"the weights of a layer of kind {mixer.short()!r}")


def _heads(model: Model, mixer: Mixer, layers: tuple[int, ...]) -> list[Matrix]:
    attention = model.card.attention
    kind, hidden = model.kind(), model.hidden()
    heads, kv = need(mixer.heads, "num_attention_heads"), need(mixer.kv_heads, "num_key_value_heads")
    dim = need(mixer.head_dim, "head_dim")
    dim_v = mixer.value_head_dim or dim
    form = family(model)
    bias = biased(model, form.qkv)
    query = (
        heads * dim * (2 if attention.output_gate or kind in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text") else 1)
    )
    made = [
        Matrix(
            part="attention", module="self_attn.qkv_proj", rows=(query, kv * dim, kv * dim_v), cols=hidden,
            layers=layers, split="rows", kv_rows=(False, True, True), head=dim, quantizable=True, bias=bias,
        ),
        linear(
            "attention", "self_attn.o_proj", hidden, heads * dim_v, layers, "cols", bias=biased(model, form.out)
        ),
    ]  # fmt: skip
    if attention.qk_norm == "per head":
        made += [vector("norm", f"self_attn.{n}_norm", dim, layers) for n in "qk"]
    elif attention.qk_norm == "whole" and form.whole_qk_norm:
        made += [
            vector("norm", "self_attn.q_norm", heads * dim, layers),
            vector("norm", "self_attn.k_norm", kv * dim, layers),
        ]
    elif attention.qk_norm == "whole":
        made += [
            vector("norm", "self_attn.q_norm", heads * dim, layers, "rows"),
            vector("norm", "self_attn.k_norm", kv * dim, layers, "kv", head=dim),
        ]
    elif attention.qk_norm == "yes" and kind not in ("llama4_text", "llama4"):
        # (Llama 4 normalises q and k without a weight.)
        raise Lacking("qk_norm_type", "config.json says that q and k are normalised, but not how")
    if kind == "laguna" and model.text().get("gating"):
        # A gate for each head, or (any other word than "per-head") for each element of the output.
        each = 1 if model.text()["gating"] in (True, "per-head") else dim
        made.append(linear("attention", "self_attn.g_proj", heads * each, hidden, layers, "rows"))
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
    # Falcon H1 alone can be without the norm before its output.
    normed = [vector("norm", "mixer.norm", inner, layers, "rows")]
    if model.kind() == "falcon_h1" and not model.flag("mamba_rms_norm"):
        normed = []
    bias = bool(model.flag("use_conv_bias") or model.flag("mamba_conv_bias"))
    plain = bool(model.flag("use_bias") or model.flag("mamba_proj_bias"))
    return [
        linear("linear-attention", "mixer.in_proj", (inner, inner, gate, gate, heads), hidden, layers, "rows", plain),
        Matrix(
            part="linear-attention", module="mixer.conv1d", rows=(inner, gate, gate), cols=kernel, layers=layers,
            split="rows", bias=bias,
        ),
        vector("linear-attention", "mixer.A", heads, layers, "rows", dtype="F32"),
        vector("linear-attention", "mixer.D", heads, layers, "rows"),
        vector("linear-attention", "mixer.dt_bias", heads, layers, "rows"),
        *normed,
        linear("linear-attention", "mixer.out_proj", hidden, inner, layers, "cols", plain),
    ]  # fmt: skip


def _mamba1(model: Model, mixer: Mixer, layers: tuple[int, ...]) -> list[Matrix]:
    """Mamba: everything but the products that make the step, B and C is cut by channels (vLLM's MambaMixer)."""
    state = mixer.state
    if state is None or state.recurrent is None:
        raise Lacking("state_size", "config.json does not state the sizes of its Mamba layers")
    (inner, size), hidden = state.recurrent, model.hidden()
    step = need(model.number("time_step_rank", "mamba_dt_rank"), "time_step_rank")
    kernel = need(state.kernel, "conv_kernel")
    bias = bool(model.flag("use_conv_bias") or model.flag("mamba_conv_bias"))
    plain = bool(model.flag("use_bias") or model.flag("mamba_proj_bias"))
    part = "linear-attention"
    made = [
        linear("linear-attention", "mixer.in_proj", (inner, inner), hidden, layers, "rows", plain),
        Matrix(part=part, module="mixer.conv1d", rows=(inner,), cols=kernel, layers=layers, split="rows", bias=bias),  # type: ignore[arg-type]
        Matrix(part=part, module="mixer.x_proj", rows=(step + 2 * size,), cols=inner, layers=layers, split="cols"),  # type: ignore[arg-type]
        Matrix(part=part, module="mixer.dt_proj", rows=(inner,), cols=step, layers=layers, split="rows", bias=True),  # type: ignore[arg-type]
        Matrix(
            part=part, module="mixer.A", rows=(inner,), cols=size, layers=layers, split="rows", dtype="F32",  # type: ignore[arg-type]
            tokens="none",
        ),
        vector("linear-attention", "mixer.D", inner, layers, "rows"),
        linear("linear-attention", "mixer.out_proj", hidden, inner, layers, "cols", plain),
    ]  # fmt: skip
    if model.kind() == "jamba":
        made += [vector("norm", f"mixer.{n}_layernorm", s, layers) for n, s in (("dt", step), ("b", size), ("c", size))]
    return made
