"""What `plan_engine.py --keep FILE` keeps of the answers: one line per config, for a test without the engine."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

# Fields that no shape, cache or capacity depends on.
IDLE = {
    "id2label", "label2id", "_name_or_path", "transformers_version", "return_dict", "output_attentions",
    "output_hidden_states", "problem_type", "chunk_size_feed_forward", "use_cache", "initializer_range",
}  # fmt: skip


def trimmed(config: dict[str, Any]) -> dict[str, Any]:
    """The config without idle fields and nulls, sections included."""
    return {
        key: trimmed(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in IDLE and value is not None and not key.endswith(("token_id", "dropout"))
    }


def window(spec: dict[str, Any]) -> int:
    return int(spec.get("sliding_window") or spec.get("attention_chunk_size") or 0)


def kept(row: dict[str, Any]) -> dict[str, Any]:
    """One layout: "block page window" -> layers, [memory, blocks, tokens] (null: refused), bytes of the parameters."""
    kv = row["kv"]
    specs = Counter(f"{x['block_size']} {x['page_bytes']} {window(x)}" for x in kv["layers"].values())
    return {
        "specs": dict(specs),
        "length": kv["max_model_len"],
        "batch": kv["max_num_batched_tokens"],
        "prefix": kv["prefix_caching"],
        "capacity": [[r["memory"], r.get("blocks"), r.get("tokens")] for r in kv["capacity"]] if specs else [],
        "weights": sum(p[3] for p in row["parameters"]),
    }


def line(folder: Path, answer: dict[str, Any]) -> str:
    """One line of JSON; "" where the engine built none of the layouts."""
    made = {str(r["layout"]["tp"]): kept(r) for r in answer["layouts"] if "kv" in r}
    if not made:
        return ""
    config = trimmed(json.loads((folder / "config.json").read_text()))
    return json.dumps({"name": folder.name, "config": config, "tp": made}, separators=(",", ":"))
