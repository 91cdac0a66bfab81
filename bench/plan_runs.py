"""KV tokens predicted by the plan against the figure a real `vllm serve` logs. Must hold: equal, every run.

    python bench/plan_runs.py --engine ENGINE_PYTHON --models FOLDER [--json FILE]

FOLDER holds checkpoints (tiny ones, see `seatrial tiny`); the families that `seatrial tiny` does not make are
derived from
its qwen3 by another config.json with `--load-format dummy`. One engine at a time, in its own process group.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from seatrial.estimate import Layout, Serving, engine_rules, read_model
from seatrial.estimate.kv_groups import capacity, pool
from seatrial.estimate.kv_layers import kv_cache

LINE = re.compile(r"KV cache size: ([\d,]+) tokens.*?per request: ([\d.]+)x")
LENGTH, SEQS, BATCH = 4096, 4, 1024
MIB = 2**20
SETTINGS = (48 * MIB, 200 * MIB, 777_777_777)
COMMON = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4, "head_dim": 32,
    "vocab_size": 768, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "dtype": "bfloat16",
    "tie_word_embeddings": False, "hidden_act": "silu",
}  # fmt: skip
VARIANTS = {
    "mqa": {**COMMON, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_key_value_heads": 1},
    "mha-fp32": {**COMMON, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_key_value_heads": 4,
                 "dtype": "float32"},
    "sliding": {**COMMON, "architectures": ["MistralForCausalLM"], "model_type": "mistral", "num_key_value_heads": 2,
                "sliding_window": 500},
    "sliding-mixed": {**COMMON, "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
                      "num_key_value_heads": 2, "sliding_window": 512, "query_pre_attn_scalar": 32,
                      "hidden_activation": "gelu_pytorch_tanh", "layer_types": (["sliding_attention"] * 2 +
                      ["full_attention"]) * 2,
                      "tie_word_embeddings": True},
    "gpt-oss": {**COMMON, "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "num_key_value_heads": 2,
                "sliding_window": 128, "num_local_experts": 4, "num_experts_per_tok": 2,
                "layer_types": ["sliding_attention", "full_attention"] * 3},
}  # fmt: skip


def prepare(folder: Path) -> list[Path]:
    """The checkpoints of FOLDER and the derived ones, made beside them."""
    base = folder / "qwen3"
    for name, config in VARIANTS.items():
        place = folder / name
        if not place.is_dir():
            shutil.copytree(base, place, ignore=shutil.ignore_patterns("*.safetensors"))
            (place / "config.json").write_text(json.dumps(config, indent=1))
    return sorted(p for p in folder.iterdir() if (p / "config.json").is_file())


def predict(place: Path, memory: int) -> tuple[int, float]:
    rules = engine_rules("cpu")
    serving = Serving(max_model_len=LENGTH, max_num_seqs=SEQS, max_num_batched_tokens=BATCH, kv_bytes=memory)
    cache = kv_cache(read_model(place), Layout(), serving, rules)
    found = capacity(pool(cache, serving, rules), memory, LENGTH, BATCH, cache, serving)
    return found.tokens, found.concurrency


def serve(engine: Path, place: Path, memory: int, limit_s: float) -> tuple[int, float] | str:
    """Tokens and concurrency as logged, or why there are none."""
    argv = [
        str(engine.parent / "vllm"), "serve", str(place), "--port", "0", "--max-model-len", str(LENGTH),
        "--max-num-seqs", str(SEQS), "--max-num-batched-tokens", str(BATCH), "--enforce-eager", "--load-format",
        "dummy",
        "--kv-cache-memory-bytes", str(memory),
    ]  # fmt: skip
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    ends = time.monotonic() + limit_s
    text = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < ends:
                if not selector.select(timeout=1):
                    continue
                data = os.read(process.stdout.fileno(), 65536)
                text += data
                if match := LINE.search(text.decode(errors="replace")):
                    return int(match[1].replace(",", "")), float(match[2])
                if not data:
                    break
        errors = [x for x in text.decode(errors="replace").splitlines() if "Error" in x]
        return errors[-1][-200:] if errors else "no figure in the log"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--memory", type=int, nargs="*", default=list(SETTINGS), help="KV cache bytes, one run each")
    parser.add_argument("--limit", type=float, default=180)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, wrong = [], 0
    print(f"{'model':<16} {'KV bytes':>12} {'predicted':>12} {'logged':>12} {'concurrency':>24}")
    for place in prepare(options.models):
        if options.only and place.name not in options.only:
            continue  # the others were not asked for
        for memory in options.memory:
            mine = predict(place, memory)
            theirs = serve(options.engine, place, memory, options.limit)
            equal = not isinstance(theirs, str) and theirs[0] == mine[0]
            wrong += not equal
            shown = theirs if isinstance(theirs, str) else f"{theirs[0]:>12}"
            both = "" if isinstance(theirs, str) else f"{mine[1]:>11.2f} {theirs[1]:>11.2f}"
            print(
                f"{place.name:<16} {memory:>12} {mine[0]:>12} {shown} {both:>24} {'' if equal else 'DIFFERS'}",
                flush=True,
            )
            rows.append({"model": place.name, "memory": memory, "predicted": mine, "logged": theirs, "equal": equal})
            if isinstance(theirs, str):
                break
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(f"{len(rows)} runs, {wrong} that differ or gave no figure")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
