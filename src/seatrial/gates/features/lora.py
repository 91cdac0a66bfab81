"""LoRA: an adapter made on the spot for the checkpoint's own projections, and answers that differ from the base's."""

from __future__ import annotations

import json
import math
import random
import re
import struct
from pathlib import Path
from typing import Any

from seatrial.checkpoint import Tensor, read_checkpoint
from seatrial.gates.client import Client
from seatrial.gates.features.base import Asked, Feature, Model, Proof, Situation, Switch
from seatrial.gates.requests import COMPLETIONS

NAME = "seatrial-lora"
RANK = 8
LAYERS = 2  # an adapter need not touch all layers; these are enough to change an answer
# Projections every engine can adapt, in the text model's attention; a tower's are another matter.
PROJECTION = re.compile(r"layers\.(\d+)\.self_attn\.(q_proj|k_proj|v_proj|o_proj)\.weight$")
TOWER = re.compile(r"vision|visual|audio|image|mtp")
APART = 1e-3  # of a log-probability: far above rounding between two runs of the same request


class Lora(Feature):
    name = "lora"
    title = "LoRA"

    def not_attempted(self, model: Model, situation: Situation) -> str:
        if any(PROJECTION.search(name) and not TOWER.search(name) for name in model.tensors):
            return ""
        if not model.tensors:
            return "no safetensors file of the checkpoint could be read for the names of its tensors"
        return "the checkpoint has no plain q_proj, k_proj, v_proj or o_proj to adapt"

    def prepare(self, model: Model, situation: Situation) -> None:
        write_adapter(Path(situation.checkpoint), _folder(situation))

    def switch(self, model: Model, situation: Situation) -> Switch:
        where = f"{NAME}={_folder(situation)}"
        return Switch(args=("--enable-lora", "--max-lora-rank", str(RANK), "--lora-modules", where))

    def ask(self, client: Client, situation: Situation) -> Asked:
        body = {"prompt": [20 + i for i in range(24)], "max_tokens": 8, "temperature": 0, "logprobs": 1}
        body["ignore_eos"] = True
        seen: list[tuple[list[str], list[float]]] = []
        for name in (client.model, NAME):
            reply = client.post(COMPLETIONS, {**body, "model": name})
            if reply.trouble():
                return Asked(against=f"{name}: {reply.trouble()}")
            try:
                told = reply.json()["choices"][0]["logprobs"]
                seen.append((list(told["tokens"]), [float(p) for p in told["token_logprobs"]]))
            except (KeyError, IndexError, TypeError, ValueError, OverflowError):
                return Asked(against=f"{name}: the answer holds no log-probabilities")
        (base, base_p), (adapted, adapted_p) = seen
        if not all(map(math.isfinite, (*base_p, *adapted_p))):
            return Asked(against="log-probabilities of the answers are not numbers")
        apart = max((abs(a - b) for a, b in zip(base_p, adapted_p, strict=False)), default=0.0)
        if base == adapted and apart < APART:
            return Asked(against=f"the adapter changes nothing: log-probabilities differ by at most {apart:.1e}")
        words = "other tokens" if base != adapted else f"log-probabilities up to {apart:.3f} apart"
        return Asked(proofs=(Proof(where="response", says=f"the adapter answers, and changes the answer: {words}"),))


def _folder(situation: Situation) -> Path:
    return Path(situation.scratch) / "lora-adapter"


def write_adapter(checkpoint: Path, folder: Path) -> None:
    """A PEFT adapter of rank RANK for the first layers that have plain projections, with seeded random values."""
    found: dict[int, list[tuple[str, Tensor]]] = {}
    for tensor in read_checkpoint(checkpoint).tensors:
        match = PROJECTION.search(tensor.name)
        if match and not TOWER.search(tensor.name) and len(tensor.shape) == 2:
            found.setdefault(int(match[1]), []).append((match[2], tensor))
    rows: dict[str, tuple[int, int]] = {}
    kinds = set()
    for layer in sorted(found)[:LAYERS]:
        for kind, tensor in found[layer]:
            kinds.add(kind)
            base = "base_model.model." + tensor.name.removesuffix(".weight")
            rows[f"{base}.lora_A.weight"] = (RANK, tensor.shape[1])
            rows[f"{base}.lora_B.weight"] = (tensor.shape[0], RANK)
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(kinds),
        "base_model_name_or_path": str(checkpoint),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    _write_safetensors(folder / "adapter_model.safetensors", rows)


def _write_safetensors(file: Path, rows: dict[str, tuple[int, int]]) -> None:
    """Float32 tensors of random values: an 8-byte length, a JSON header, the data (the format's own specification)."""
    generator = random.Random(0)  # noqa: S311
    header: dict[str, Any] = {}
    at = 0
    for name, (height, width) in rows.items():
        size = 4 * height * width
        header[name] = {"dtype": "F32", "shape": [height, width], "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(head)) + head)
        for height, width in rows.values():
            for _ in range(height):
                stream.write(struct.pack(f"<{width}f", *(generator.uniform(-0.2, 0.2) for _ in range(width))))


FEATURE = Lora()
