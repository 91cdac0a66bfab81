"""The plan beside vLLM 0.32.0's own answers for the dry-run zoo (data/engine_zoo.jsonl): caches, tokens, weights.

One line per architecture that transformers configures by default and the engine builds, four layers each; written by
`bench/plan_engine.py --keep` on a processor with avx512_bf16 and without AMX.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.estimate.test_estimate_engine_figures import RULES

from seatrial.estimate import Layout, Serving, read_model
from seatrial.estimate.kv_groups import capacity, pool
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.model import NotModelled

LINES = (Path(__file__).parent / "data" / "engine_zoo.jsonl").read_text().splitlines()
KEPT = {row["name"]: row for row in map(json.loads, LINES)}
# Architectures whose caches the plan does not know, which it must say.
UNKNOWN = {"InklingForConditionalGeneration": "inkling_text"}


def read(name, folder):
    (folder / "config.json").write_text(json.dumps(KEPT[name]["config"]))
    return read_model(folder)


@pytest.mark.parametrize("name", sorted(KEPT))
def test_every_layers_cache_and_all_capacities_are_the_engines(name, tmp_path):
    model = read(name, tmp_path)
    for tp, theirs in KEPT[name]["tp"].items():
        serving = Serving(
            max_model_len=theirs["length"], max_num_batched_tokens=theirs["batch"], prefix_caching=theirs["prefix"]
        )
        if name in UNKNOWN:
            with pytest.raises(NotModelled, match=UNKNOWN[name]):
                kv_cache(model, Layout(tp=int(tp)), serving, RULES)
            continue
        cache = kv_cache(model, Layout(tp=int(tp)), serving, RULES)
        assert Counter(f"{s.block} {s.page} {s.window or s.chunk or 0}" for s in cache.specs) == theirs["specs"]
        made = pool(cache, serving, RULES)
        for memory, blocks, tokens in theirs["capacity"]:
            held = capacity(made, memory, theirs["length"], theirs["batch"], cache, serving)
            if blocks is None:
                assert not held.fits
            else:
                assert (held.blocks, held.tokens, held.fits) == (blocks, tokens, True)


def test_the_kept_answers_are_of_the_whole_zoo():
    assert len(KEPT) >= 128
    assert sum(not tp["specs"] for row in KEPT.values() for tp in row["tp"].values()) == 32
