"""Large published models as header-only checkpoints: their config's figures and the names their repositories use.

The figures are those of the models' public config.json files; nothing is downloaded.
"""

from __future__ import annotations

from math import ceil

from seatrial.dryrun import HeaderTensor

DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "attention_bias": False,
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v3",
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_group": 8,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    },
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 40,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "tie_word_embeddings": False,
    "topk_group": 4,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "v_head_dim": 128,
    "vocab_size": 129280,
}

QWEN3_235B = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "attention_bias": False,
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "max_position_embeddings": 40960,
    "max_window_layers": 94,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 1536,
    "norm_topk_prob": True,
    "num_attention_heads": 64,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 94,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}


class Names:
    """Collects tensors; `block` > 0 adds a `weight_scale_inv` to every linear weight."""

    def __init__(self, block: int = 0) -> None:
        self.tensors: list[HeaderTensor] = []
        self.block = block

    def plain(self, name: str, *shape: int, dtype: str = "BF16") -> None:
        self.tensors.append(HeaderTensor(name=name, dtype=dtype, shape=shape))

    def linear(self, name: str, out: int, into: int) -> None:
        if not self.block:
            self.plain(name + ".weight", out, into)
            return
        self.plain(name + ".weight", out, into, dtype="F8_E4M3")
        self.plain(name + ".weight_scale_inv", ceil(out / self.block), ceil(into / self.block), dtype="F32")

    def mlp(self, name: str, hidden: int, inner: int) -> None:
        self.linear(name + ".gate_proj", inner, hidden)
        self.linear(name + ".up_proj", inner, hidden)
        self.linear(name + ".down_proj", hidden, inner)


def deepseek_v3(config: dict[str, object] | None = None, *, block: int = 128, mtp: bool = True) -> list[HeaderTensor]:
    c = dict(config or DEEPSEEK_V3)
    names = Names(block)
    hidden, heads = int(c["hidden_size"]), int(c["num_attention_heads"])
    nope, rope, value = int(c["qk_nope_head_dim"]), int(c["qk_rope_head_dim"]), int(c["v_head_dim"])
    q_rank, kv_rank = int(c["q_lora_rank"]), int(c["kv_lora_rank"])
    layers = int(c["num_hidden_layers"])
    names.plain("model.embed_tokens.weight", int(c["vocab_size"]), hidden)
    for layer in range(layers + (1 if mtp else 0)):
        at = f"model.layers.{layer}"
        if layer == layers:
            names.plain(f"{at}.embed_tokens.weight", int(c["vocab_size"]), hidden)
            names.plain(f"{at}.enorm.weight", hidden)
            names.plain(f"{at}.hnorm.weight", hidden)
            names.plain(f"{at}.eh_proj.weight", hidden, 2 * hidden)
            names.plain(f"{at}.shared_head.norm.weight", hidden)
            names.plain(f"{at}.shared_head.head.weight", int(c["vocab_size"]), hidden)
        attention = f"{at}.self_attn"
        names.linear(f"{attention}.q_a_proj", q_rank, hidden)
        names.plain(f"{attention}.q_a_layernorm.weight", q_rank)
        names.linear(f"{attention}.q_b_proj", heads * (nope + rope), q_rank)
        names.linear(f"{attention}.kv_a_proj_with_mqa", kv_rank + rope, hidden)
        names.plain(f"{attention}.kv_a_layernorm.weight", kv_rank)
        names.linear(f"{attention}.kv_b_proj", heads * (nope + value), kv_rank)
        names.linear(f"{attention}.o_proj", hidden, heads * value)
        names.plain(f"{at}.input_layernorm.weight", hidden)
        names.plain(f"{at}.post_attention_layernorm.weight", hidden)
        if layer < int(c["first_k_dense_replace"]):
            names.mlp(f"{at}.mlp", hidden, int(c["intermediate_size"]))
            continue
        inner, experts = int(c["moe_intermediate_size"]), int(c["n_routed_experts"])
        names.plain(f"{at}.mlp.gate.weight", experts, hidden)
        names.plain(f"{at}.mlp.gate.e_score_correction_bias", experts, dtype="F32")
        for expert in range(experts):
            names.mlp(f"{at}.mlp.experts.{expert}", hidden, inner)
        names.mlp(f"{at}.mlp.shared_experts", hidden, inner * int(c["n_shared_experts"]))
    names.plain("model.norm.weight", hidden)
    names.plain("lm_head.weight", int(c["vocab_size"]), hidden)
    return names.tensors


def qwen3_moe(config: dict[str, object] | None = None, *, block: int = 0) -> list[HeaderTensor]:
    c = dict(config or QWEN3_235B)
    names = Names(block)
    hidden, head = int(c["hidden_size"]), int(c["head_dim"])
    q, kv = head * int(c["num_attention_heads"]), head * int(c["num_key_value_heads"])
    names.plain("model.embed_tokens.weight", int(c["vocab_size"]), hidden)
    for layer in range(int(c["num_hidden_layers"])):
        at = f"model.layers.{layer}"
        names.linear(f"{at}.self_attn.q_proj", q, hidden)
        names.linear(f"{at}.self_attn.k_proj", kv, hidden)
        names.linear(f"{at}.self_attn.v_proj", kv, hidden)
        names.linear(f"{at}.self_attn.o_proj", hidden, q)
        names.plain(f"{at}.self_attn.q_norm.weight", head)
        names.plain(f"{at}.self_attn.k_norm.weight", head)
        names.plain(f"{at}.input_layernorm.weight", hidden)
        names.plain(f"{at}.post_attention_layernorm.weight", hidden)
        names.plain(f"{at}.mlp.gate.weight", int(c["num_experts"]), hidden)
        for expert in range(int(c["num_experts"])):
            names.mlp(f"{at}.mlp.experts.{expert}", hidden, int(c["moe_intermediate_size"]))
    names.plain("model.norm.weight", hidden)
    names.plain("lm_head.weight", int(c["vocab_size"]), hidden)
    return names.tensors


SMALL_QWEN3 = {
    **{k: v for k, v in QWEN3_235B.items() if "expert" not in k and "moe" not in k and "mlp_only" not in k},
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 2048,
}
SMALL_QWEN3.pop("decoder_sparse_step")
SMALL_MOE = {
    **QWEN3_235B,
    "hidden_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "vocab_size": 2048,
}
SMALL_DEEPSEEK = {
    **DEEPSEEK_V3,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "moe_intermediate_size": 256,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 2048,
}


def qwen3_dense(form: str = "", config: dict[str, object] | None = None) -> list[HeaderTensor]:
    """A dense Qwen3 in one of the forms of quantised checkpoints: "", fp8, fp8-tensor, awq, gptq, int8."""
    c = dict(config or SMALL_QWEN3)
    names = Quantised(form)
    hidden, head = int(c["hidden_size"]), int(c["head_dim"])
    q, kv = head * int(c["num_attention_heads"]), head * int(c["num_key_value_heads"])
    names.plain("model.embed_tokens.weight", int(c["vocab_size"]), hidden)
    for layer in range(int(c["num_hidden_layers"])):
        at = f"model.layers.{layer}"
        names.linear(f"{at}.self_attn.q_proj", q, hidden)
        names.linear(f"{at}.self_attn.k_proj", kv, hidden)
        names.linear(f"{at}.self_attn.v_proj", kv, hidden)
        names.linear(f"{at}.self_attn.o_proj", hidden, q)
        names.plain(f"{at}.self_attn.q_norm.weight", head)
        names.plain(f"{at}.self_attn.k_norm.weight", head)
        names.plain(f"{at}.input_layernorm.weight", hidden)
        names.plain(f"{at}.post_attention_layernorm.weight", hidden)
        names.mlp(f"{at}.mlp", hidden, int(c["intermediate_size"]))
    names.plain("model.norm.weight", hidden)
    if not c.get("tie_word_embeddings"):
        names.plain("lm_head.weight", int(c["vocab_size"]), hidden)
    return names.tensors


class Quantised(Names):
    """Linear layers as the quantisation tools write them; group size 128 where there are groups."""

    def __init__(self, form: str) -> None:
        super().__init__(128 if form == "fp8" else 0)
        self.form = form

    def linear(self, name: str, out: int, into: int) -> None:
        groups = into // 128
        if self.form == "fp8-tensor":
            self.plain(f"{name}.weight", out, into, dtype="F8_E4M3")
            self.plain(f"{name}.weight_scale", dtype="F32")
            self.plain(f"{name}.input_scale", dtype="F32")
        elif self.form == "awq":
            self.plain(f"{name}.qweight", into, out // 8, dtype="I32")
            self.plain(f"{name}.qzeros", groups, out // 8, dtype="I32")
            self.plain(f"{name}.scales", groups, out, dtype="F16")
        elif self.form == "gptq":
            self.plain(f"{name}.qweight", into // 8, out, dtype="I32")
            self.plain(f"{name}.qzeros", groups, out // 8, dtype="I32")
            self.plain(f"{name}.scales", groups, out, dtype="F16")
            self.plain(f"{name}.g_idx", into, dtype="I32")
        elif self.form == "int8":
            self.plain(f"{name}.weight", out, into, dtype="I8")
            self.plain(f"{name}.weight_scale", out, 1)
        elif self.form == "nvfp4":
            self.plain(f"{name}.weight", out, into // 2, dtype="U8")
            self.plain(f"{name}.weight_scale", out, into // 16, dtype="F8_E4M3")
            self.plain(f"{name}.weight_scale_2", dtype="F32")
            self.plain(f"{name}.input_scale", dtype="F32")
        elif self.form == "int4":
            self.plain(f"{name}.weight_packed", out, into // 8, dtype="I32")
            self.plain(f"{name}.weight_scale", out, groups)
            self.plain(f"{name}.weight_shape", 2, dtype="I64")
        else:
            super().linear(name, out, into)


def compressed(kind: str) -> dict[str, object]:
    """The quantization_config that llm-compressor writes: int8 W8A8 dynamic, or int4 W4A16 in groups of 128."""
    eight = kind == "int8"
    weights = {"num_bits": 8 if eight else 4, "type": "int", "symmetric": True, "dynamic": False}
    weights |= {"strategy": "channel"} if eight else {"strategy": "group", "group_size": 128}
    acts = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True} if eight else None
    group = {"targets": ["Linear"], "weights": weights, "input_activations": acts, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized" if eight else "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
    }


QUANTIZATION = {
    "": None,
    "fp8": DEEPSEEK_V3["quantization_config"],
    "fp8-tensor": {"quant_method": "fp8", "activation_scheme": "static"},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True, "lm_head": False},
    "int8": compressed("int8"),
    "int4": compressed("int4"),
    "nvfp4": {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "kv_cache_quant_algo": None,
        "group_size": 16,
        "ignore": ["lm_head"],
        "producer": {"name": "modelopt", "version": "0.40.0"},
    },
}

# gpt-oss as its repository has it: routed experts in MXFP4 blocks of 32, all else in bf16.
SMALL_GPT_OSS: dict[str, object] = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "attention_bias": True,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 256,
    "intermediate_size": 256,
    "layer_types": ["sliding_attention", "full_attention"],
    "max_position_embeddings": 4096,
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "embed_tokens", "lm_head"],
    },
    "rms_norm_eps": 1e-05,
    "rope_theta": 150000,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 2048,
}


def gpt_oss(config: dict[str, object] | None = None) -> list[HeaderTensor]:
    c = dict(config or SMALL_GPT_OSS)
    names = Names()
    hidden, inner, experts = int(c["hidden_size"]), int(c["intermediate_size"]), int(c["num_local_experts"])
    head = int(c["head_dim"])
    q, kv = head * int(c["num_attention_heads"]), head * int(c["num_key_value_heads"])
    names.plain("model.embed_tokens.weight", int(c["vocab_size"]), hidden)
    for layer in range(int(c["num_hidden_layers"])):
        at = f"model.layers.{layer}"
        for part, out, into in (("q", q, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, q)):
            names.plain(f"{at}.self_attn.{part}_proj.weight", out, into)
            names.plain(f"{at}.self_attn.{part}_proj.bias", out)
        names.plain(f"{at}.self_attn.sinks", int(c["num_attention_heads"]))
        names.plain(f"{at}.input_layernorm.weight", hidden)
        names.plain(f"{at}.post_attention_layernorm.weight", hidden)
        names.plain(f"{at}.mlp.router.weight", experts, hidden)
        names.plain(f"{at}.mlp.router.bias", experts)
        for part, out, into in (("gate_up", 2 * inner, hidden), ("down", hidden, inner)):
            names.plain(f"{at}.mlp.experts.{part}_proj_blocks", experts, out, into // 32, 16, dtype="U8")
            names.plain(f"{at}.mlp.experts.{part}_proj_scales", experts, out, into // 32, dtype="U8")
            names.plain(f"{at}.mlp.experts.{part}_proj_bias", experts, out)
    names.plain("model.norm.weight", hidden)
    names.plain("lm_head.weight", int(c["vocab_size"]), hidden)
    return names.tensors


def unquantised_gates(config: dict[str, object]) -> list[str]:
    return [f"model.layers.{layer}.mlp.gate" for layer in range(int(config["num_hidden_layers"]))]


def quantised_config(form: str, config: dict[str, object] | None = None) -> dict[str, object]:
    plain = {k: v for k, v in (config or SMALL_QWEN3).items() if k != "quantization_config"}
    if form in ("awq", "gptq"):
        plain["torch_dtype"] = "float16"
    return {**plain, **({"quantization_config": QUANTIZATION[form]} if QUANTIZATION[form] else {})}
