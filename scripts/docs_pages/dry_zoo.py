"""docs/dry-zoo.md: the table of bench/dry_zoo.py, from the result it left in docs/dry-zoo.json."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

PAGE = "dry-zoo.md"
SOURCE = Path(__file__).resolve().parents[2] / "docs" / "dry-zoo.json"


def page() -> str:
    data = json.loads(SOURCE.read_text(encoding="utf-8"))
    rows = data["rows"]
    made = [r for r in rows if r["verdict"] != "not made"]
    counts = Counter(r["whose"] or "pass" for r in made)
    lines = [
        "# Zoo of the dry run",
        "",
        "Generated from `docs/dry-zoo.json`, which `bench/dry_zoo.py` writes; do not edit.",
        "",
        f"vLLM {data['vllm']} (CPU) registers {data['registered']} architectures; transformers {data['transformers']}",
        f"has a class for {len(rows)} of them and can build {len(made)} from its default config. Each was cut to four",
        "layers, named as `save_pretrained` names it, and dry-run at TP 1. What is not a pass is classified: `engine`",
        "(vLLM refuses or cannot load it), `transformers` (its default config or its tensor names are not those that",
        "vLLM reads), `zoo` (it lacks a file that only a real checkpoint has), `ours` (the dry run cannot follow).",
        "",
        ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) + ".",
        "",
        "| architecture | verdict | whose | account or reason |",
        "|---|---|---|---|",
    ]
    for row in rows:
        text = row["summary"] if row["verdict"] == "pass" else row["reason"]
        lines.append(f"| {row['architecture']} | {row['verdict']} | {row['whose']} | {_cell(text)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
