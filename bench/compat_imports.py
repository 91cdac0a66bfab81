"""The compatibility meter's word on every module of a plugin, against really importing it.

    python bench/compat_imports.py --python ENGINE_PYTHON --engine FOLDER --plugin SRC [--extra FOLDER] [--show N]

Each module of the plugin is imported in a process of its own, with vLLM and the plugin real and the device's libraries
stood in for (`_import_each.py`). The meter says a module breaks if it, or anything it imports with nothing to catch the
error, has a name, module or attribute that this vLLM does not have.
A module that fails by a stand-in counts for neither side.
Prints precision, recall, and in how many right alarms the meter names what the import names.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from seatrial.support.compat import compat
from seatrial.support.compat.graph import Graph, broken_modules
from seatrial.support.compat.run import open_pair

BASE = ("vllm", "vllm.config", "vllm.forward_context", "vllm.model_executor.models.registry",
        "vllm.model_executor.layers.fused_moe", "vllm.v1.worker.gpu_model_runner")  # fmt: skip


def named(text: str) -> set[str]:
    """Words in quotes of an error: the names it says are not there."""
    return set(re.findall(r"'([\w.]+)'", text))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--plugin", type=Path, required=True)
    parser.add_argument("--extra", type=Path)
    parser.add_argument("--show", type=int, default=20)
    parser.add_argument("--bare", action="store_true", help="leave the plugin's top __init__ out: it would break all")
    args = parser.parse_args()
    report = compat(args.engine, args.plugin)
    opened = open_pair(args.engine, args.plugin)
    graph, broken = Graph(opened.pair), broken_modules(report.hits)
    modules = sorted(opened.pair.sites)
    root = opened.pair.own
    if args.bare:
        modules.remove(root)
        for edges in graph.loads.values():
            edges.discard(root)
    said = {m: sorted(graph.closure(m) & broken) for m in modules}
    built = sorted(opened.pair.plugin.built())
    request = {"modules": modules, "built": built, "base": BASE, "bare": args.bare}
    folders = [args.engine, args.plugin, *([args.extra] if args.extra else [])]
    path = os.pathsep.join(str(f.resolve()) for f in folders)
    env = dict(os.environ, PYTHONPATH=path, VLLM_PLUGINS="", VLLM_LOGGING_LEVEL="ERROR")
    began = time.perf_counter()
    done = subprocess.run([str(args.python), str(Path(__file__).with_name("_import_each.py"))],
                          input=json.dumps(request), capture_output=True, text=True, env=env, timeout=3600)  # fmt: skip
    if not done.stdout:
        print("the engine gave no answer:", done.stderr[-2000:])
        return 3
    answers = json.loads(done.stdout)
    tally = {"hit": 0, "false": 0, "missed": 0, "silent": 0, "unknown": 0, "named": 0}
    reasons: dict[str, int] = {}
    for module, (kind, text, file, line) in answers.items():
        bad = bool(said[module])
        if kind in ("not known", "order"):
            tally["unknown"] += 1
            reasons[text[:110]] = reasons.get(text[:110], 0) + 1
            continue
        missing = kind == "missing"
        tally["hit" if bad and missing else "false" if bad else "missed" if missing else "silent"] += 1
        if bad and missing:
            symbols = {
                s for h in report.hits if h.module in said[module] for s in (h.symbol, h.symbol.rpartition(".")[2])
            }
            tally["named"] += bool(named(text) & symbols)
        if bad != missing and args.show > 0:
            args.show -= 1
            print("   ", "FALSE" if bad else "MISSED", module, said[module][:2], text[:160], f"{file}:{line}")
    hit, false, missed = tally["hit"], tally["false"], tally["missed"]
    precision = hit / (hit + false) if hit + false else None
    recall = hit / (hit + missed) if hit + missed else None
    pair = f"{report.plugin_name} {report.plugin_version} x vLLM {report.engine_version}"
    print(f"{pair}: {len(answers)} modules imported "
          f"in {time.perf_counter() - began:.0f} s, {tally['unknown']} the stand-ins cannot answer")  # fmt: skip
    print(f"right alarms {hit} ({tally['named']} name what the import names), false {false}, missed {missed}, right "
          f"silence {tally['silent']}; precision {precision if precision is None else round(precision, 4)}, "
          f"recall {recall if recall is None else round(recall, 4)}")  # fmt: skip
    for text, count in sorted(reasons.items(), key=lambda kv: -kv[1])[:8]:
        print(f"   cannot say {count:>3} x {text}")
    return 0 if all(v is None or v >= 0.98 for v in (precision, recall)) else 1


if __name__ == "__main__":
    sys.exit(main())
