"""A fault that only one setting has: does the matrix name that setting, and the smallest of its kind that breaks?

Run: `python bench/accuracy_ab.py [--python ENGINE_PYTHON] [--only NAME] [--json FILE]`. Needs the embedded engine. Each
fault is put into the served engine by a general plugin of vLLM that looks at the engine's configuration and quarters
the attention's scale only under the setting (graph, chunks of 64 or less, two ranks, 8-bit KV cache), or rolls the
queries of a batch of more than two sequences; another setting, run beside it, must not break.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from accuracy_start import keep, options, plugin, tiny

from seatrial.core.record import replace, to_plain
from seatrial.engine.border import ProbeSession
from seatrial.measure.accuracy.ab import matrix
from seatrial.targets import load_target

# `when` is an expression of the engine's configuration `c`, or of the attention's metadata `m` at each call.
FAULTS = {
    "graph": "not c.model_config.enforce_eager",
    "chunked": "c.scheduler_config.max_num_batched_tokens <= 64",
    "tp2": "c.parallel_config.tensor_parallel_size > 1",
    "kv-fp8": "'fp8' in str(c.cache_config.cache_dtype)",
}
BATCH = "batch"
PLUGIN = """
def register():
    import vllm.v1.worker.cpu_model_runner as runner
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner
    old = CPUModelRunner.load_model
    def load_model(self, *args, **more):
        done = old(self, *args, **more)
        c = self.vllm_config
        if WHEN:
            for module in self.get_model().modules():
                impl = getattr(module, "impl", None)
                if impl is not None and hasattr(impl, "scale"):
                    BREAK
        return done
    CPUModelRunner.load_model = load_model
"""
SCALE = "impl.scale = impl.scale * 0.25"
SEVERAL = """
                    was = impl.forward
                    def forward(layer, query, key, value, cache, m, *rest, was=was, **more):
                        several = m is not None and len(getattr(m, "seq_lens", ())) > 2
                        return was(layer, query.roll(1, -1) if several else query, key, value, cache, m, *rest, **more)
                    impl.forward = forward
"""


def source(name: str) -> str:
    """The plugin that breaks this one setting."""
    broken = SEVERAL.strip() if name == BATCH else SCALE
    return PLUGIN.replace("WHEN", FAULTS.get(name, "True")).replace("BREAK", broken)


def main() -> None:
    asked = options(__doc__)
    names = (*FAULTS, BATCH)
    asked.add_argument("--only", action="append", default=[], help=f"one of {', '.join(names)}")
    given = asked.parse_args()
    rows: list[dict[str, object]] = []
    with (
        tempfile.TemporaryDirectory(prefix="seatrial-ab-") as scratch,
        ProbeSession(given.python, log=Path(scratch) / "probe.log", env={"HF_HUB_OFFLINE": "1"}) as session,
    ):
        root = Path(scratch)
        target = load_target("cpu").target
        for name in given.only or names:
            checkpoint = tiny(session, root, "qwen3")
            session.rest()
            env = {**target.launch.env, **plugin(root / f"plugin-{name}", source(name))}
            broken = replace(target, launch=replace(target.launch, env=env))
            other = "prefix-cache" if name != "prefix-cache" else "batch"
            result = matrix(
                checkpoint,
                broken,
                python=given.python,
                scratch=root / name,
                only=(name, other),
                max_model_len=512,
            )
            cells = {c.variant.name: c for c in result.facts.cells}
            row = {
                "fault": name,
                "named": [c.variant.name for c in result.facts.cells if c.state == "breaks"],
                "smallest": cells[name].smallest if name in cells else "",
                "cells": {n: f"{c.state} {c.reason}" for n, c in cells.items()},
                "milder": [f"{m.variant.name} {m.state}" for c in cells.values() for m in c.milder],
                "outcome": to_plain(result.outcome),
            }
            keep(rows, row, given.json)
    right = sum(r["named"] == [r["fault"]] for r in rows)
    sys.stdout.write(f"faults of one setting {len(rows)}, named alone {right}\n")


if __name__ == "__main__":
    main()
