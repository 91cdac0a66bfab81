"""Header-only checkpoints by code: names, dtypes and shapes of tiny models, and raw probe answers made by hand."""

from __future__ import annotations

import base64
import json
from array import array
from pathlib import Path

from seatrial.dryrun import HeaderTensor
from seatrial.dryrun.raw import IMAGE, RawDry, RawEngine, RawParameter, RawPlatform, RawRank, RawRegion
from seatrial.dryrun.request import DryRequest, columns

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "hidden_act": "silu",
    "attention_bias": False,
}


def qwen3_tensors(layers: int = 2, tied: bool = False) -> list[HeaderTensor]:
    shapes = {"model.embed_tokens.weight": (512, 64), "model.norm.weight": (64,)}
    if not tied:
        shapes["lm_head.weight"] = (512, 64)
    for layer in range(layers):
        for name, shape in {
            "self_attn.q_proj.weight": (64, 64),
            "self_attn.k_proj.weight": (32, 64),
            "self_attn.v_proj.weight": (32, 64),
            "self_attn.o_proj.weight": (64, 64),
            "self_attn.q_norm.weight": (16,),
            "self_attn.k_norm.weight": (16,),
            "mlp.gate_proj.weight": (128, 64),
            "mlp.up_proj.weight": (128, 64),
            "mlp.down_proj.weight": (64, 128),
            "input_layernorm.weight": (64,),
            "post_attention_layernorm.weight": (64,),
        }.items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    return [HeaderTensor(name=name, dtype="BF16", shape=shape) for name, shape in shapes.items()]


def without(tensors: list[HeaderTensor], name: str) -> list[HeaderTensor]:
    left = [t for t in tensors if t.name != name]
    assert len(left) == len(tensors) - 1, f"no tensor {name}"
    return left


def changed(tensors: list[HeaderTensor], target: str, **fields: object) -> list[HeaderTensor]:
    found = [t for t in tensors if t.name == target]
    assert len(found) == 1, f"no tensor {target}"
    new = HeaderTensor(**{"name": target, "dtype": found[0].dtype, "shape": found[0].shape, **fields})
    return [new if t.name == target else t for t in tensors]


def write_config(folder: Path, config: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


class FakeRank:
    """A rank as the probe would answer it, built move by move."""

    def __init__(self, rank: int = 0, how: str = "full") -> None:
        self.rank = rank
        self.how = how
        self.parameters: list[RawParameter] = []
        self.regions: list[RawRegion] = []
        self.moves = array("i")

    def parameter(self, name: str, shape: tuple[int, ...], dtype: str = "bfloat16", **fields: object) -> int:
        at = len(self.parameters)
        values = {
            "name": name,
            "shape": list(shape),
            "strides": list(dense(shape)),
            "offset": 0,
            "dtype": dtype,
            "parameter": True,
            "persistent": True,
            "storage_id": at,
            "storages": [at],
            "born": "empty",
            "device": "meta",
            "owner": 0,
            "quant": -1,
        }
        self.parameters.append(RawParameter(**{**values, **fields}))
        return at

    def region(self, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...] | None = None) -> int:
        self.regions.append(RawRegion(offset, sizes, strides if strides is not None else dense(sizes)))
        return len(self.regions) - 1

    def move(self, tensor: int, parameter: int, to: int, source: int, *, image: bool = False) -> None:
        self.moves.extend((tensor, parameter, to, source, int(image)))

    def raw(self, **fields: object) -> RawRank:
        values = {
            "rank": self.rank,
            "how": self.how,
            "built": True,
            "parameters": self.parameters,
            "classes": ["M"],
            "regions": self.regions,
            "operations": ["copy_", "copy_" + IMAGE],
            "moves": base64.b64encode(self.moves.tobytes()).decode(),
        }
        return RawRank(**{**values, **fields})


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def request(tensors: list[HeaderTensor], *, tp: int = 1, sample: tuple[int, ...] = ()) -> DryRequest:
    return DryRequest(
        folder="x",
        tensors=columns(tensors),
        tp=tp,
        pp=1,
        ep=False,
        ranks=[r for r in range(tp) if r not in sample],
        sample_ranks=list(sample),
        workers=1,
    )


def answer(*ranks: RawRank) -> RawDry:
    return RawDry(
        engine=RawEngine(vllm="0.32.0", torch="2", transformers="5", adapter="x", adapter_proven=True),
        platform=RawPlatform(device_type="cpu", class_="C"),
        import_s=0.0,
        ranks=list(ranks),
        total_s=0.0,
    )
