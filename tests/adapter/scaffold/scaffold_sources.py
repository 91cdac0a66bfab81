"""A vLLM made of the names that the templates import, and checkpoints as names and shapes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from seatrial.adapter.scaffold.symbols import PLACES

REGISTRY = """
_VLLM_MODELS = {
    "KnownForCausalLM": ("known", "KnownForCausalLM"),
    "LatentForCausalLM": ("latent", "LatentForCausalLM"),
}
_PREVIOUSLY_SUPPORTED_MODELS = {}
_OOT_SUPPORTED_MODELS = {}
ModelRegistry = _ModelRegistry(
    {
        arch: _LazyRegisteredModel(module_name=f"vllm.model_executor.models.{mod}", class_name=cls)
        for arch, (mod, cls) in _VLLM_MODELS.items()
    }
)
"""
LATENT = """
from vllm.model_executor.models.interfaces import SupportsPP


class LatentForCausalLM(SupportsPP):
    def forward(self, input_ids, intermediate_tensors=None): ...

    def __init__(self, config):
        self.kv_a_proj_with_mqa = config.kv_lora_rank + config.qk_rope_head_dim
        self.kv_a_layernorm = self.kv_b_proj = self.q_proj = self.o_proj = config.qk_nope_head_dim
        self.model = self.layers = self.self_attn = self.embed_tokens = self.norm = self.lm_head = config.v_head_dim
        self.mlp = self.gate_proj = self.up_proj = self.down_proj = self.input_layernorm = None
        self.post_attention_layernorm = None
"""
CONFIG = {
    "architectures": ["HarbourForCausalLM"],
    "model_type": "harbour",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "vocab_size": 256,
    "tie_word_embeddings": False,
    "use_cache": True,
    "sliding_window": None,
}
MOE = {
    "architectures": ["HarbourMoeForCausalLM"],
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "norm_topk_prob": True,
}


def engine(folder: Path) -> Path:
    """A source tree in which every place of every symbol exists."""
    modules: dict[str, list[str]] = {}
    for name, places in PLACES.items():
        modules.setdefault(places[0], []).append(name)
    files = {
        "vllm/_version.py": "__version__ = version = '0.40.0'\n",
        "vllm/__init__.py": "",
        "vllm/model_executor/models/registry.py": REGISTRY,
        "vllm/model_executor/models/known.py": "class KnownForCausalLM: ...\n",
        "vllm/model_executor/models/latent.py": LATENT,
        "transformers/__init__.py": "",
        "transformers/models/auto/configuration_auto.py": 'NAMES = {"qwen3": "Qwen3Config"}\n',
        "transformers/models/auto/auto_mappings.py": 'CONFIGS = [\n    ("latent", "LatentConfig"),\n]\n',
        "transformers/models/auto/modeling_auto.py": 'MODELS = [\n    ("latent", "LatentForCausalLM"),\n]\n',
        "vllm/model_executor/models/config.py": 'MODELS_CONFIG_MAP = {"KnownForCausalLM": object}\n',
    }
    for module, names in modules.items():
        files[module.replace(".", "/") + ".py"] = "".join(f"class {n}: ...\n" for n in names)
    files["vllm/model_executor/models/interfaces.py"] += "def supports_pp(model): ...\n"
    for path in list(files):
        for parent in Path(path).parents:
            plain = f"{parent}.py"
            if plain in files and str(parent) != ".":
                files[f"{parent}/__init__.py"] = files.pop(plain)
            elif str(parent).startswith("vllm/"):
                files.setdefault(f"{parent}/__init__.py", "")
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder


def dense(layers: int = 2, prefix: str = "model.") -> dict[str, list[int]]:
    """Names and shapes of a dense decoder of CONFIG's sizes."""
    shapes = {f"{prefix}embed_tokens.weight": [256, 64], f"{prefix}norm.weight": [64], "lm_head.weight": [256, 64]}
    for n in range(layers):
        layer = f"{prefix}layers.{n}"
        shapes |= {
            f"{layer}.input_layernorm.weight": [64],
            f"{layer}.post_attention_layernorm.weight": [64],
            f"{layer}.self_attn.q_proj.weight": [128, 64],
            f"{layer}.self_attn.k_proj.weight": [64, 64],
            f"{layer}.self_attn.v_proj.weight": [64, 64],
            f"{layer}.self_attn.o_proj.weight": [64, 128],
            f"{layer}.mlp.gate_proj.weight": [128, 64],
            f"{layer}.mlp.up_proj.weight": [128, 64],
            f"{layer}.mlp.down_proj.weight": [64, 128],
        }
    return shapes


def sparse(layers: int = 2, dense_layers: int = 0) -> dict[str, list[int]]:
    """The same with four experts in every layer from `dense_layers` on."""
    shapes = {n: s for n, s in dense(layers).items() if ".mlp." not in n or int(n.split(".")[2]) < dense_layers}
    for n in range(dense_layers, layers):
        shapes[f"model.layers.{n}.mlp.gate.weight"] = [4, 64]
        for e in range(4):
            expert = f"model.layers.{n}.mlp.experts.{e}"
            shapes[f"{expert}.gate_proj.weight"] = shapes[f"{expert}.up_proj.weight"] = [48, 64]
            shapes[f"{expert}.down_proj.weight"] = [64, 48]
    return shapes


def drafted(shapes: dict[str, list[int]], layers: int) -> dict[str, list[int]]:
    """The same with a draft (MTP) layer after the last one, in the naming of GLM-4.5 and DeepSeek-V3."""
    last, ours = f"model.layers.{layers - 1}.", f"model.layers.{layers}."
    return {
        **shapes,
        **{ours + name.removeprefix(last): shape for name, shape in shapes.items() if name.startswith(last)},
        f"{ours}enorm.weight": [64],
        f"{ours}hnorm.weight": [64],
        f"{ours}eh_proj.weight": [64, 128],
        f"{ours}shared_head.norm.weight": [64],
        f"{ours}shared_head.head.weight": shapes["lm_head.weight"],
        f"{ours}embed_tokens.weight": shapes["model.embed_tokens.weight"],
    }


def drafted_itself(shapes: dict[str, list[int]], layers: int, house: str) -> dict[str, list[int]]:
    """The same with one draft layer that has a number of its own, as MiMo ("mimo") or Qwen3-Next ("qwen") name it."""
    last = f"model.layers.{layers - 1}."
    ours = "model.mtp_layers.0." if house == "mimo" else "mtp.layers.0."
    around = {
        "mimo": ("token_layernorm", "hidden_layernorm", "input_proj", "final_layernorm"),
        "qwen": ("pre_fc_norm_embedding", "pre_fc_norm_hidden", "fc", "norm"),
    }[house]
    place = ours if house == "mimo" else "mtp."
    more = {f"{place}{name}.weight": side for name, side in zip(around, ([64], [64], [64, 128], [64]), strict=True)}
    return shapes | {ours + n.removeprefix(last): s for n, s in shapes.items() if n.startswith(last)} | more


def latent(layers: int = 2) -> dict[str, list[int]]:
    """A dense decoder with latent attention (LATENT_CONFIG)."""
    shapes = dense(layers)
    for n in range(layers):
        attention = f"model.layers.{n}.self_attn"
        del shapes[f"{attention}.k_proj.weight"], shapes[f"{attention}.v_proj.weight"]
        shapes[f"{attention}.q_proj.weight"] = [4 * 40, 64]
        shapes[f"{attention}.kv_a_proj_with_mqa.weight"] = [40, 64]
        shapes[f"{attention}.kv_a_layernorm.weight"] = [32]
        shapes[f"{attention}.kv_b_proj.weight"] = [256, 32]
    return shapes


LATENT_CONFIG = {"kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 32, "v_head_dim": 32}


def checkpoint(folder: Path, config: dict, shapes: dict[str, list[int]]) -> Path:
    """Headers with zeroed weights; a shape may stand with a dtype of its own, as `("I32", [2, 8])`."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    header, offset = {}, 0
    for name, given in shapes.items():
        dtype, shape = given if isinstance(given, tuple) else ("BF16", given)
        size = 4 if dtype == "I32" else 2
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))
    return folder
