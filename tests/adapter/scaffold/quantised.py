"""Quantised checkpoints of a small Qwen3, as headers over zeros: fp8 by blocks, int8 by channels, AWQ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shards import write_shard

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, WIDTH, VOCABULARY, EXPERTS, LAYERS = 256, 4, 2, 128, 512, 768, 4, 2
GATES = [f"model.layers.{n}.mlp.gate" for n in range(LAYERS)]
METHODS: dict[str, dict[str, Any]] = {
    "fp8": {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "weight_block_size": [128, 128],
        "modules_to_not_convert": [*GATES, "lm_head"],
    },
    "int8": {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": [*GATES, "lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
                "input_activations": {
                    "num_bits": 8,
                    "type": "int",
                    "symmetric": True,
                    "strategy": "token",
                    "dynamic": True,
                },
                "output_activations": None,
            }
        },
    },
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True},
}


def write_quantised(folder: Path, method: str, architecture: str, *, moe: bool = False) -> Path:
    """A checkpoint of `architecture`, with the tensors that such checkpoints have."""
    folder.mkdir(parents=True)
    config = {
        "architectures": [architecture],
        "model_type": "qwen3_moe" if moe else "qwen3",
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "intermediate_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "vocab_size": VOCABULARY,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": False,
        "attention_bias": False,
        "dtype": "float16" if method == "awq" else "bfloat16",
        "quantization_config": METHODS[method],
    }
    if moe:
        config |= {
            "num_experts": EXPERTS,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": WIDTH // 2,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }
    (folder / "config.json").write_text(json.dumps(config))
    write_shard(folder / "model.safetensors", _tensors(method, moe))
    return folder


def _linear(name: str, rows: int, columns: int, method: str) -> dict[str, tuple[str, list[int]]]:
    if method == "fp8":
        scale = [-(-rows // 128), -(-columns // 128)]
        return {f"{name}.weight": ("F8_E4M3", [rows, columns]), f"{name}.weight_scale_inv": ("F32", scale)}
    if method == "int8":
        return {f"{name}.weight": ("I8", [rows, columns]), f"{name}.weight_scale": ("BF16", [rows, 1])}
    return {
        f"{name}.qweight": ("I32", [columns, rows // 8]),
        f"{name}.qzeros": ("I32", [columns // 128, rows // 8]),
        f"{name}.scales": ("F16", [columns // 128, rows]),
    }


def _tensors(method: str, moe: bool) -> dict[str, tuple[str, list[int]]]:
    plain = {"model.embed_tokens": [VOCABULARY, HIDDEN], "lm_head": [VOCABULARY, HIDDEN], "model.norm": [HIDDEN]}
    out: dict[str, tuple[str, list[int]]] = {}
    wide = HEADS * HEAD_DIM
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        plain |= {f"{layer}.self_attn.{n}": [HEAD_DIM] for n in ("q_norm", "k_norm")}
        plain |= {f"{layer}.{n}": [HIDDEN] for n in ("input_layernorm", "post_attention_layernorm")}
        out |= _linear(f"{layer}.self_attn.q_proj", wide, HIDDEN, method)
        out |= _linear(f"{layer}.self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN, method)
        out |= _linear(f"{layer}.self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN, method)
        out |= _linear(f"{layer}.self_attn.o_proj", HIDDEN, wide, method)
        if moe:
            plain[f"{layer}.mlp.gate"] = [EXPERTS, HIDDEN]
        places = [f"{layer}.mlp.experts.{e}" for e in range(EXPERTS)] if moe else [f"{layer}.mlp"]
        width = WIDTH // 2 if moe else WIDTH
        for place in places:
            out |= _linear(f"{place}.gate_proj", width, HIDDEN, method)
            out |= _linear(f"{place}.up_proj", width, HIDDEN, method)
            out |= _linear(f"{place}.down_proj", HIDDEN, width, method)
    return {**out, **{f"{name}.weight": ("BF16", shape) for name, shape in plain.items()}}
