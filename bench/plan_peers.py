"""KV cache of 32,768 tokens, one request, bfloat16: the plan beside hf-mem 0.5.6 (its figures as measured on
2026-11-20).

    python bench/plan_peers.py

Two figures of the plan: by formula (the least that must be kept), and what the engine allocates for such a request.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from seatrial.estimate import Layout, Serving, engine_rules, read_model
from seatrial.estimate.kv_groups import blocks_per_request, pool
from seatrial.estimate.kv_layers import kv_cache

LENGTH = 32768
BASE = {"dtype": "bfloat16", "vocab_size": 1000, "max_position_embeddings": 131072, "tie_word_embeddings": False}
# The published configs' attention fields, and what hf-mem 0.5.6 answered for the model, in GiB.
MODELS = {
    "Qwen3-32B (GQA)": (8.0, {"model_type": "qwen3", "num_hidden_layers": 64, "hidden_size": 5120, "head_dim": 128,
        "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 25600}),
    "DeepSeek-V3 (MLA)": (53.375, {"model_type": "deepseek_v3", "num_hidden_layers": 61, "hidden_size": 7168,
        "num_attention_heads": 128, "num_key_value_heads": 128, "kv_lora_rank": 512, "q_lora_rank": 1536,
        "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "intermediate_size": 18432}),
    "Qwen3-Next-80B (hybrid)": (3.0, {"model_type": "qwen3_next", "num_hidden_layers": 48, "hidden_size": 2048,
        "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4,
        "linear_num_value_heads": 32, "linear_num_key_heads": 16, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "intermediate_size": 5120}),
    "gpt-oss-120b (window 1:1)": (2.25, {"model_type": "gpt_oss", "num_hidden_layers": 36, "hidden_size": 2880,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128,
        "layer_types": ["sliding_attention", "full_attention"] * 18, "intermediate_size": 2880}),
}  # fmt: skip


def main() -> None:
    rules = engine_rules("cuda")
    serving = Serving(max_model_len=LENGTH, max_num_batched_tokens=2048)
    print(f"{'model':<26} {'hf-mem GiB':>10} {'formula GiB':>12} {'ratio':>7} {'engine allocates GiB':>21}")
    with tempfile.TemporaryDirectory() as name:
        for title, (theirs, config) in MODELS.items():
            folder = Path(name) / title.split()[0]
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps({**BASE, "architectures": ["X"], **config}))
            cache = kv_cache(read_model(folder), Layout(), serving, rules)
            formula = 0
            for spec in cache.specs:
                if spec.kind == "state":
                    formula += spec.content
                else:
                    kept = min(LENGTH, spec.window or spec.chunk or LENGTH)
                    formula += spec.content * kept // spec.block
            made = pool(cache, serving, rules)
            held = made.block_bytes * blocks_per_request(made, LENGTH, 2048, cache, serving)
            ratio = theirs / formula * 2**30
            print(f"{title:<26} {theirs:>10.3f} {formula / 2**30:>12.3f} {ratio:>7.2f} {held / 2**30:>21.3f}")


if __name__ == "__main__":
    main()
