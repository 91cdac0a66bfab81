"""Lower bounds of TTFT and TPOT beside a real CPU run. Must hold: no measured time is below its bound.

    python bench/plan_bounds.py --target TARGET [--seconds 2] [--quick] [--json FILE]

A tiny Qwen3 of `seatrial tiny`, and one whose weights are larger than the caches (random too), are served by the
target's engine and loaded by `seatrial bench run`; `seatrial plan --measured metrics.json` puts them beside their
bounds. These rest on this machine's peaks (`seatrial hardware measure`), taken before and after the loads, the better
of both: a peak is what the machine can do, and other work only lowers what is seen of it. Where other work had more
than a tenth of the cores in the best round of some figure, a beaten bound or a figure that was not measured proves
nothing: it is inconclusive, and the exit status is 3.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dry_files import write

from seatrial.cli._hardware_file import UNDISTURBED, complete, least_held
from seatrial.dryrun import HeaderTensor

WIDE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
CASES = ((1, 64, 32), (4, 256, 32))
WORKLOAD = """
schema_version = 1
name = "bounds"
[dataset]
kind = "random"
input_tokens = {prompt}
output_tokens = {output}
[load]
requests = {requests}
concurrency = {concurrency}
warmup = {concurrency}
"""


def seatrial(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "seatrial", *words], cwd=place, capture_output=True, text=True, timeout=900,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip


def checkpoints(place: Path, quick: bool) -> list[Path]:
    """The tiny checkpoint as made, and one of the same family with weights larger than the caches."""
    tiny, wide = place / "tiny", place / "wide"
    made = seatrial(place, "tiny", "qwen3", str(tiny))
    if made.returncode:
        sys.exit(made.stderr)
    if quick:
        return [tiny]
    shutil.copytree(tiny, wide, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = {**json.loads((wide / "config.json").read_text()), **WIDE}
    if "layer_types" in config:
        config["layer_types"] = ["full_attention"] * WIDE["num_hidden_layers"]
    write(wide, config, qwen3(config))
    return [tiny, wide]


def qwen3(config: dict) -> list[HeaderTensor]:
    """The tensors of a dense Qwen3 without tied embeddings."""
    hidden, between, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query, kept = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    layer = {
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
        "self_attn.q_norm": (head,),
        "self_attn.k_norm": (head,),
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (kept, hidden),
        "self_attn.v_proj": (kept, hidden),
        "self_attn.o_proj": (hidden, query),
        "mlp.gate_proj": (between, hidden),
        "mlp.up_proj": (between, hidden),
        "mlp.down_proj": (hidden, between),
    }
    shapes = {f"model.layers.{n}.{k}": s for n in range(config["num_hidden_layers"]) for k, s in layer.items()}
    shapes |= {"model.norm": (hidden,), "model.embed_tokens": (config["vocab_size"], hidden)}
    shapes["lm_head"] = shapes["model.embed_tokens"]
    return [HeaderTensor(name=f"{name}.weight", dtype="BF16", shape=shape) for name, shape in shapes.items()]


def load(place: Path, folder: Path, target: str, case: tuple[int, int, int]) -> dict:
    """One load, as `bench run` measured it."""
    concurrency, prompt, output = case
    workload = WORKLOAD.format(prompt=prompt, output=output, requests=4 * concurrency, concurrency=concurrency)
    (place / "w.toml").write_text(workload)
    done = seatrial(
        place, "bench", "run", "--workload", "w.toml", "--checkpoint", str(folder), "--target", target, "--json"
    )
    if not done.stdout.strip():
        sys.exit(done.stderr[-2000:])
    return json.loads(done.stdout)["runs"][0]


def compare(place: Path, folder: Path, run: dict, target: str) -> dict:
    """What `plan --measured` says of it."""
    file = place / "metrics.json"
    file.write_text(json.dumps(run["metrics"]))
    done = seatrial(
        place, "plan", str(folder), "--target", target, "--hardware", "here.toml", "--memory", "8", "--max-model-len",
        "1024", "--measured", str(file), "--json",
    )  # fmt: skip
    if not done.stdout.strip():
        sys.exit(done.stderr[-2000:])
    found = json.loads(done.stdout)
    return {"model": folder.name, "load": found["run"], "reached": found["reached"], "doubts": run["doubts"]}


def peaks(place: Path, target: str, seconds: float) -> dict:
    """What this machine reaches now."""
    done = seatrial(
        place, "hardware", "measure", "--target", target, "--seconds", str(seconds), "--no-collective", "--json"
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def better(one: dict, other: dict) -> dict:
    """Figure by figure the higher of two measurements, each with the share of the cores that it had."""
    found = {**one, "matmul": dict(one["matmul"]), "held": dict(one["held"])}
    for name, value in other["matmul"].items():
        had = found["matmul"].get(name)
        if isinstance(value, (int, float)) and not (isinstance(had, (int, float)) and had >= value):
            found["matmul"][name], found["held"][name] = value, other["held"].get(name)
    for name in ("copy", "read"):
        if other[name] > found[name]:
            found[name], found["held"][name] = other[name], other["held"].get(name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--overrides", type=Path, help="A seatrial.toml that defines the target.")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="the tiny checkpoint and one request at a time only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, wrong, beaten = [], 0, 0
    print(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())}")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.overrides:
            shutil.copyfile(options.overrides, place / "seatrial.toml")
        first = peaks(place, options.target, options.seconds)
        runs = [
            (folder, load(place, folder, options.target, case))
            for folder in checkpoints(place, options.quick)
            for case in CASES[: 1 if options.quick else None]
        ]
        best = better(first, peaks(place, options.target, options.seconds))
        held = least_held(best)
        disturbed = held is not None and held < UNDISTURBED
        (place / "here.toml").write_text(complete(best, "cpu"))
        print((place / "here.toml").read_text())
        if disturbed:
            print(f"disturbed: other work held {1 - held:.0%} of the cores while a peak was measured")
        print(
            f"{'model':<6} {'batch':>5} {'in':>4} {'out':>4} {'figure':<6} {'bound ms':>9} {'measured':>9} {'ratio':>7}"
        )
        for folder, run in runs:
            row = compare(place, folder, run, options.target)
            rows.append({**row, "held": held})
            said, reached = row["load"], row["reached"]
            for figure in ("ttft_s", "tpot_s"):
                least, seen = reached["bounds"][figure], said[figure]
                if not least or not seen:
                    # A busy machine may hand over an answer in one piece, which has no time per token.
                    wrong, beaten = wrong + (not disturbed), beaten + disturbed
                    why = run["metrics"].get("unknown", {}).get(figure.replace("_s", "_ms"), "")
                    print(f"{folder.name:<6} {figure}: bound {least}, measured {seen}: nothing to compare. {why}")
                    continue
                beaten += seen < least and disturbed
                wrong += seen < least and not disturbed
                line = f"{folder.name:<6} {said['batch']:>5} {said['prompt']:>4} {said['output']:>4} {figure[:4]:<6}"
                print(f"{line} {least * 1e3:>9.3f} {seen * 1e3:>9.3f} {seen / least:>7.2f}", flush=True)
            shares = {k: reached[k] for k in ("prefill_mfu", "decode_mfu", "decode_mbu")}
            print("       " + ", ".join(f"{k} {v:.2%}" for k, v in shares.items() if v is not None))
            print("".join(f"       doubt: {x}\n" for x in row["doubts"]), end="")
            if [f["code"] for f in reached["findings"]]:
                print("       beaten bounds: " + "; ".join(f["message"] for f in reached["findings"]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(f"{len(rows)} runs, {wrong} figures below their bound or missing, {beaten} inconclusive")
    sys.exit(1 if wrong else 3 if beaten else 0)


if __name__ == "__main__":
    main()
