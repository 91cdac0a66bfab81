"""Lower bounds of TTFT and TPOT beside a real CPU run. Must hold: no measured time is below its bound.

    python bench/plan_bounds.py --target TARGET [--seconds 2] [--quick] [--json FILE]

The hardware's peaks are measured first (`seatrial hardware measure`), then a tiny Qwen3 of `seatrial tiny` and one
whose weights are larger than the caches (dummy weights) are served by the target's engine, loaded by
`seatrial bench run`, and put beside their bounds by `seatrial plan --measured metrics.json`, which also gives MFU and
MBU. The bounds rest on measured peaks, which are what this machine reached in those seconds: other work at that moment
makes the bounds too high, so look at the load average beside them.
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


def checkpoints(place: Path, quick: bool) -> list[tuple[Path, tuple[str, ...]]]:
    """The tiny checkpoint as made, and one of the same family with weights larger than the caches."""
    made = seatrial(place, "tiny", "qwen3", "tiny")
    if made.returncode:
        sys.exit(made.stderr)
    wide = place / "wide"
    shutil.copytree(place / "tiny", wide, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = json.loads((wide / "config.json").read_text())
    layers = {"layer_types": ["full_attention"] * WIDE["num_hidden_layers"]} if "layer_types" in config else {}
    (wide / "config.json").write_text(json.dumps({**config, **WIDE, **layers}, indent=1))
    found: list[tuple[Path, tuple[str, ...]]] = [(place / "tiny", ())]
    return found if quick else [*found, (wide, ("--arg=--load-format=dummy",))]


def compare(place: Path, folder: Path, more: tuple[str, ...], target: str, case: tuple[int, int, int]) -> dict:
    """One load: what `bench run` measured and `plan --measured` says of it."""
    concurrency, prompt, output = case
    workload = WORKLOAD.format(prompt=prompt, output=output, requests=4 * concurrency, concurrency=concurrency)
    (place / "w.toml").write_text(workload)
    done = seatrial(
        place, "bench", "run", "--workload", "w.toml", "--checkpoint", str(folder), "--target", target, "--json", *more
    )
    if not done.stdout.strip():
        sys.exit(done.stderr[-2000:])
    run = json.loads(done.stdout)["runs"][0]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--overrides", type=Path, help="A seatrial.toml that defines the target.")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="the tiny checkpoint and one request at a time only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, wrong = [], 0
    print(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())}")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.overrides:
            shutil.copyfile(options.overrides, place / "seatrial.toml")
        done = seatrial(
            place, "hardware", "measure", "--target", options.target, "--seconds", str(options.seconds),
            "--no-collective", "--write", "here.toml",
        )  # fmt: skip
        if done.returncode:
            sys.exit(done.stderr)
        print(done.stdout)
        print(
            f"{'model':<6} {'batch':>5} {'in':>4} {'out':>4} {'figure':<6} {'bound ms':>9} {'measured':>9} {'ratio':>7}"
        )
        for folder, more in checkpoints(place, options.quick):
            for case in CASES[: 1 if options.quick else None]:
                row = compare(place, folder, more, options.target, case)
                rows.append(row)
                load, reached = row["load"], row["reached"]
                for figure in ("ttft_s", "tpot_s"):
                    least, seen = reached["bounds"][figure], load[figure]
                    if not least or not seen:
                        wrong += 1
                        print(f"{folder.name:<6} {figure}: bound {least}, measured {seen}: nothing to compare")
                        continue
                    wrong += seen < least
                    line = (
                        f"{folder.name:<6} {load['batch']:>5} {load['prompt']:>4} {load['output']:>4} {figure[:4]:<6}"
                    )
                    print(f"{line} {least * 1e3:>9.3f} {seen * 1e3:>9.3f} {seen / least:>7.2f}", flush=True)
                shares = {k: reached[k] for k in ("prefill_mfu", "decode_mfu", "decode_mbu")}
                print("       " + ", ".join(f"{k} {v:.2%}" for k, v in shares.items() if v is not None))
                print("".join(f"       doubt: {x}\n" for x in row["doubts"]), end="")
                if [f["code"] for f in reached["findings"]]:
                    print("       beaten bounds: " + "; ".join(f["message"] for f in reached["findings"]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(f"{len(rows)} runs, {wrong} figures below their bound or missing")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
