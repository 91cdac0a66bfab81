"""A fault that only several ranks have: does parity against a served engine see it, and stay silent at one rank?

Run: `python bench/accuracy_tp.py [--python ENGINE_PYTHON] [--json FILE]`. Needs the embedded engine. The fault is put
into the served engine by a general plugin of vLLM: while `QKVParallelLinear` loads the queries, their rows are moved
by one rank's share, so that every rank holds its neighbour's query heads beside its own keys and values. With one rank
the share is the whole, and nothing moves. Four servers: good and faulty, with one rank and with two.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from accuracy_start import keep, options, plugin, tiny

from seatrial.core.errors import SeatrialError
from seatrial.engine.border import ProbeSession
from seatrial.measure.accuracy.answers import Asked, served
from seatrial.measure.accuracy.parity import parity
from seatrial.measure.accuracy.prompts import chosen
from seatrial.measure.accuracy.serving import during
from seatrial.targets import load_target

PLUGIN = """
def register():
    import torch
    from vllm.model_executor.layers.linear import QKVParallelLinear
    for name in ("weight_loader", "weight_loader_v2"):
        old = getattr(QKVParallelLinear, name)
        def loader(self, param, loaded_weight, loaded_shard_id=None, *rest, old=old, **more):
            if loaded_shard_id == "q":
                loaded_weight = torch.roll(loaded_weight[:], loaded_weight.shape[0] // self.tp_size, 0)
            return old(self, param, loaded_weight, loaded_shard_id, *rest, **more)
        setattr(QKVParallelLinear, name, loader)
"""


def main() -> None:
    given = options(__doc__).parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="seatrial-tp-") as scratch:
        root = Path(scratch)
        broken = plugin(root / "plugin", PLUGIN)
        asked = [Asked(text=t) for t in chosen(4)]
        with ProbeSession(given.python, log=root / "reference.log", env={"HF_HUB_OFFLINE": "1"}) as reference:
            checkpoint = tiny(reference, root, "qwen3")
            for tp, fault in ((2, True), (2, False), (1, True), (1, False)):
                began = time.monotonic()
                row = {"tp": tp, "fault": fault, "expected": "fail" if fault and tp > 1 else "pass"}
                try:
                    answers = during(
                        checkpoint,
                        load_target("cpu").target,
                        lambda client, _: served(client, asked, max_tokens=8),
                        python=given.python,
                        scratch=root / f"server-{tp}-{fault}",
                        tp=tp,
                        max_model_len=512,
                        extra_args=("--no-enable-prefix-caching",),
                        env=broken if fault else None,
                    ).only()
                    result = parity(
                        reference, str(checkpoint), answers, dtype="bfloat16", how="served", engine="vllm", keep=True
                    )
                    row |= {
                        "verdict": result.outcome.verdict.value,
                        "amplitude": max(b.worst for b in result.facts.bands),
                    }
                except SeatrialError as exc:
                    row["error"] = exc.one_line()
                row["wall_s"] = round(time.monotonic() - began, 1)
                keep(rows, row, given.json)


if __name__ == "__main__":
    main()
