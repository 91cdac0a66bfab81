"""FLOPs of the plan (not causal) against torch's FlopCounterMode over transformers' model on meta. Must hold: within
1 %.

    python bench/plan_flops.py --engine ENGINE_PYTHON [--patches 24x36] CONFIG_FOLDER...

The causal figure, which fused kernels pay, is shown beside it. With --patches the image towers instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from math import prod
from pathlib import Path

from seatrial.engine.border import ProbeSession
from seatrial.estimate import Layout, Serving, engine_rules, read_model
from seatrial.estimate.compute import lay_out
from seatrial.estimate.compute_audio import encoder_parts
from seatrial.estimate.compute_towers import tower_parts
from seatrial.estimate.model import Lacking, NotModelled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--new", type=int, default=1024)
    parser.add_argument("--patches", help="HIGHxWIDE: one image of so many patches through the tower")
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    wrong = 0
    print(f"{'config':<40} {'class':<28} {'counted TFLOP':>14} {'plan':>14} {'ratio':>8} {'causal':>12}")
    with tempfile.TemporaryDirectory() as scratch, ProbeSession(options.engine, log=Path(scratch) / "log") as session:
        for folder in options.folders:
            model = read_model(folder)
            serving = Serving(max_model_len=options.new)
            request = {"folder": str(folder.resolve()), "batch": options.batch, "new": options.new}
            try:
                if options.patches:
                    request["image"] = [int(x) for x in options.patches.split("x")]
                    full = causal = sum(p.flops for p in tower_parts(model, Layout(), 1, prod(request["image"])))
                else:
                    work = lay_out(model, Layout(), serving, engine_rules("cuda"))
                    full = sum(p.flops for p in work.step(options.batch, options.new, 0, causal=False, all_logits=True))
                    causal = sum(p.flops for p in work.step(options.batch, options.new, 0, all_logits=True))
                    if model.config.get("is_encoder_decoder"):
                        heard = sum(p.flops for p in encoder_parts(model, Layout(), options.batch))
                        full, causal = full + heard, causal + heard
            except (Lacking, NotModelled) as exc:
                print(f"{folder.name:<40} not estimated: {exc}", flush=True)
                continue
            reply = session.call("estimate_flops", request, timeout_s=300)
            if reply.status != "answered":
                print(f"{folder.name:<40} not counted: {reply.trouble()[:150]}", flush=True)
                continue
            ratio = full / reply.answer["total"]
            wrong += abs(ratio - 1) > 0.01
            counted, kind = reply.answer["total"], reply.answer["class"]
            figures = f"{counted / 1e12:>14.4f} {full / 1e12:>14.4f} {ratio:>8.5f} {causal / 1e12:>12.4f}"
            print(f"{folder.name:<40} {kind:<28} {figures}", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
