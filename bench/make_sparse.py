"""Makes a checkpoint of DeepSeek-V3's size (block fp8) as sparse files: real headers, holes for the weights.

163 shards, 91,991 tensors, 641 GiB said, some 20 MB on disk. Usage: python bench/make_sparse.py FOLDER [SHARDS].
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

HIDDEN, VOCABULARY, LAYERS, EXPERTS, HEADS = 7168, 129280, 61, 256, 128
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": HIDDEN,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "n_routed_experts": EXPERTS, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 3, "moe_layer_freq": 1, "n_group": 8, "topk_group": 4,
    "topk_method": "noaux_tc", "scoring_func": "sigmoid", "kv_lora_rank": 512, "q_lora_rank": 1536,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": VOCABULARY,
    "max_position_embeddings": 163840, "rope_theta": 10000, "num_nextn_predict_layers": 1, "hidden_act": "silu",
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "eos_token_id": 1,
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128],
                            "activation_scheme": "dynamic"},
}  # fmt: skip
Row = tuple[str, str, tuple[int, ...], int]


def fp8(name: str, rows: int, columns: int) -> Iterator[Row]:
    yield f"{name}.weight", "F8_E4M3", (rows, columns), rows * columns
    blocks = (-(-rows // 128), -(-columns // 128))
    yield f"{name}.weight_scale_inv", "F32", blocks, 4 * blocks[0] * blocks[1]


def plain(name: str, *shape: int, dtype: str = "BF16") -> Iterator[Row]:
    size = 4 if dtype == "F32" else 2
    for n in shape:
        size *= n
    yield name, dtype, shape, size


def mlp(name: str, width: int) -> Iterator[Row]:
    yield from fp8(f"{name}.gate_proj", width, HIDDEN)
    yield from fp8(f"{name}.up_proj", width, HIDDEN)
    yield from fp8(f"{name}.down_proj", HIDDEN, width)


def layer(i: int) -> Iterator[Row]:
    p = f"model.layers.{i}"
    a = f"{p}.self_attn"
    yield from fp8(f"{a}.q_a_proj", 1536, HIDDEN)
    yield from plain(f"{a}.q_a_layernorm.weight", 1536)
    yield from fp8(f"{a}.q_b_proj", HEADS * 192, 1536)
    yield from fp8(f"{a}.kv_a_proj_with_mqa", 576, HIDDEN)
    yield from plain(f"{a}.kv_a_layernorm.weight", 512)
    yield from fp8(f"{a}.kv_b_proj", HEADS * 256, 512)
    yield from fp8(f"{a}.o_proj", HIDDEN, HEADS * 128)
    yield from plain(f"{p}.input_layernorm.weight", HIDDEN)
    yield from plain(f"{p}.post_attention_layernorm.weight", HIDDEN)
    if i < 3:
        yield from mlp(f"{p}.mlp", 18432)
        return
    yield from plain(f"{p}.mlp.gate.weight", EXPERTS, HIDDEN)
    yield from plain(f"{p}.mlp.gate.e_score_correction_bias", EXPERTS, dtype="F32")
    yield from mlp(f"{p}.mlp.shared_experts", 2048)
    for e in range(EXPERTS):
        yield from mlp(f"{p}.mlp.experts.{e}", 2048)


def tensors() -> Iterator[Row]:
    yield from plain("model.embed_tokens.weight", VOCABULARY, HIDDEN)
    for i in range(LAYERS):
        yield from layer(i)
    yield from plain("model.norm.weight", HIDDEN)
    yield from plain("lm_head.weight", VOCABULARY, HIDDEN)
    # The MTP layer: a layer of its own with embedding, head, norms and a projection.
    p = f"model.layers.{LAYERS}"
    yield from layer(LAYERS)
    yield from plain(f"{p}.embed_tokens.weight", VOCABULARY, HIDDEN)
    yield from plain(f"{p}.enorm.weight", HIDDEN)
    yield from plain(f"{p}.hnorm.weight", HIDDEN)
    yield from plain(f"{p}.eh_proj.weight", HIDDEN, 2 * HIDDEN)
    yield from plain(f"{p}.shared_head.norm.weight", HIDDEN)
    yield from plain(f"{p}.shared_head.head.weight", VOCABULARY, HIDDEN)


def make(folder: Path, shards: int = 163) -> int:
    """Write it; returns the number of tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(tensors())
    per = -(-len(rows) // shards)
    weight_map: dict[str, str] = {}
    for s in range(shards):
        name = f"model-{s + 1:05}-of-{shards:06}.safetensors"
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        at = 0
        for tensor, dtype, shape, size in rows[s * per : (s + 1) * per]:
            header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
            weight_map[tensor] = name
            at += size
        raw = json.dumps(header, separators=(",", ":")).encode()
        raw += b" " * (-len(raw) % 8)
        with (folder / name).open("wb") as stream:
            stream.write(struct.pack("<Q", len(raw)) + raw)
            stream.truncate(8 + len(raw) + at)
    total = sum(row[3] for row in rows)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    return len(rows)


if __name__ == "__main__":
    count = make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 163)
    print(f"{count} tensors")
