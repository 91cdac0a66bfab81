"""docs/dry-zoo.md, -ascend.md and -kunlun.md: the tables of bench/dry_zoo.py, from the results it left beside them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


NAMES = ("dry-zoo", "dry-zoo-ascend", "dry-zoo-kunlun")


def pages() -> dict[str, str]:
    return {f"{name}.md": table(DOCS / f"{name}.json") for name in NAMES}


def table(source: Path) -> str:
    """The page of one zoo: on the CPU engine, or through a plugin's platform if the file names a target."""
    data = json.loads(source.read_text(encoding="utf-8"))
    rows = data["rows"]
    made = [r for r in rows if r["verdict"] != "not made"]
    counts = Counter(r["whose"] or "pass" for r in made)
    lines = [
        f"# Zoo of the dry run{' through ' + data['target'] if 'target' in data else ''}",
        "",
        f"Generated from `docs/{source.name}`, which `bench/dry_zoo.py` writes; do not edit.",
        "",
        *plugin_words(data),
        f"vLLM {data['vllm']} ({platform_of(data)}) registers {data['registered']} architectures; transformers "
        f"{data['transformers']}",
        f"has a class for {len(rows)} of them and can build {len(made)} from its default config. Each was cut to four",
        "layers, named as `save_pretrained` names it, and dry-run at TP 1. What is not a pass is classified: `engine`",
        "(vLLM refuses or cannot load it), `transformers` (its default config or its tensor names are not those that",
        "vLLM reads), `zoo` (it lacks a file that only a real checkpoint has), `ours` (the dry run cannot follow)"
        + (", `plugin` (the plugin's own code)," if "target" in data else "."),
        *(["`stub` (the stand-ins for the device's packages lack a name)."] if "target" in data else []),
        "",
        ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) + ".",
        "",
        *operator_words(made),
        "| architecture | verdict | whose | account or reason |",
        "|---|---|---|---|",
    ]
    for row in rows:
        text = row["summary"] if row["verdict"] == "pass" else row["reason"]
        lines.append(f"| {row['architecture']} | {row['verdict']} | {row['whose']} | {_cell(text)} |")
    return "\n".join(lines) + "\n"


def operator_words(made: list[dict[str, Any]]) -> list[str]:
    """What the forwards call, as far as it is read from their source; nothing where an older bench did not look."""
    read = [r for r in made if any(isinstance(n, int) for n in r.get("ops", {}).values())]
    if not read:
        return []
    states: Counter[str] = Counter()
    for row in read:
        states.update({state: n for state, n in row["ops"].items() if isinstance(n, int)})
    said = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    lines = [
        f"Operators that the forwards of {len(read)} of them call, read from the source of what was built: {said}",
        "(an operator counts once a model; `unknown` is one of a library that only the device has). Certainly missing",
    ]
    for word in ("certainly missing", "perhaps missing"):
        rows = [f"{r['architecture']} ({', '.join(r['ops'][word])})" for r in read if word in r["ops"]]
        text = "; ".join(rows) if rows else "none"
        lines.append(f"ones: {text}." if word.startswith("certainly") else f"Behind a condition and missing: {text}.")
    return [*lines, ""]


def platform_of(data: dict[str, Any]) -> str:
    return f"{data['target']} with plugin {data['plugin']}" if "target" in data else "CPU"


def plugin_words(data: dict[str, Any]) -> list[str]:
    if "target" not in data:
        return []
    return [
        "The plugin's platform class, patches, operators and model classes are what is built, without its hardware;",
        "the device's own Python packages are stood in for by `src/seatrial/platforms/<name>/stubs.toml`.",
        "",
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
