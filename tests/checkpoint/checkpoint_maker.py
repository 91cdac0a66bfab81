"""Makes tiny checkpoints for the tests, byte by byte, so that any defect can be put in."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "U8": 1, "I8": 1, "I32": 4, "I64": 8, "F8_E8M0": 1}

TINY = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
    "vocab_size": 256,
    "max_position_embeddings": 40960,
    "rope_theta": 1000000,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "eos_token_id": 2,
    "bos_token_id": 1,
}


def tiny_tensors(dtype: str = "BF16") -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names, dtypes and shapes of TINY's weights."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (256, 64)}
    for i in range(2):
        p = f"model.layers.{i}."
        shapes |= {
            p + "input_layernorm.weight": (64,),
            p + "self_attn.q_proj.weight": (64, 64),
            p + "self_attn.k_proj.weight": (32, 64),
            p + "self_attn.v_proj.weight": (32, 64),
            p + "self_attn.o_proj.weight": (64, 64),
            p + "self_attn.q_norm.weight": (16,),
            p + "self_attn.k_norm.weight": (16,),
            p + "post_attention_layernorm.weight": (64,),
            p + "mlp.gate_proj.weight": (128, 64),
            p + "mlp.up_proj.weight": (128, 64),
            p + "mlp.down_proj.weight": (64, 128),
        }
    shapes |= {"model.norm.weight": (64,), "lm_head.weight": (256, 64)}
    return {name: (dtype, shape) for name, shape in shapes.items()}


def entries(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, dict]:
    """Header entries, one after the other."""
    at, rows = 0, {}
    for name, (dtype, shape) in tensors.items():
        size = prod(shape) * BYTES[dtype]
        rows[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return rows


def shard_bytes(header: dict | bytes, data: int | None = None) -> bytes:
    """A shard from a header (a dict, or the raw JSON) and its number of data bytes (by default what it claims)."""
    raw = header if isinstance(header, bytes) else json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    if data is None:
        data = max((e["data_offsets"][1] for e in header.values()), default=0) if isinstance(header, dict) else 0
    return struct.pack("<Q", len(raw)) + raw + b"\0" * data


def write_shard(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    path.write_bytes(shard_bytes(entries(tensors)))


def write_config(folder: Path, config: dict | None = None, **changes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**(TINY if config is None else config), **changes}))


def tokenizer(folder: Path, size: int = 256) -> None:
    """The tokenizer files a server needs, as small as they go."""
    vocabulary = {f"t{i}": i for i in range(size)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"}
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": "{{ messages }}"})
    )
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}))


def tiny(folder: Path, *, shards: int = 2, **config) -> Path:
    """A good checkpoint: config, tokenizer, shards and index."""
    write_config(folder, **config)
    tokenizer(folder)
    tensors = list(tiny_tensors().items())
    per = -(-len(tensors) // shards)
    weight_map, total = {}, 0
    for i in range(shards):
        part = dict(tensors[i * per : (i + 1) * per])
        name = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write_shard(folder / name, part)
        weight_map |= dict.fromkeys(part, name)
        total += sum(prod(s) * BYTES[d] for d, s in part.values())
    write_index(folder, weight_map, total)
    return folder


def write_index(folder: Path, weight_map: dict[str, str], total: int | None = None) -> None:
    document = {"metadata": {} if total is None else {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document))


def read_index(folder: Path) -> dict:
    return json.loads((folder / "model.safetensors.index.json").read_text())
