"""Families with a cache layout of their own: DeepSeek-V4 in both forms of its config, Inkling with windows, packing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.core.errors import UsageError
from seatrial.estimate import Layout, Serving, engine_rules
from seatrial.estimate.kv_groups import blocks_of, pool
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.kv_packed import approximate_divisor, packed_groups
from seatrial.estimate.kv_specs import CacheSpec
from seatrial.estimate.model import Lacking, NotModelled

V4 = {
    "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "hidden_size": 4096, "head_dim": 512,
    "num_attention_heads": 64, "num_key_value_heads": 1, "num_hidden_layers": 4, "index_head_dim": 128,
    "index_n_heads": 64, "index_topk": 512, "q_lora_rank": 1024, "o_lora_rank": 1024, "qk_rope_head_dim": 64,
    "sliding_window": 128, "max_position_embeddings": 65536, "num_nextn_predict_layers": 1,
}  # fmt: skip
FLAT = {**V4, "compress_ratios": [0, 4, 128, 4, 0]}
NAMED = {
    **V4,
    "layer_types": ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention",
                    "compressed_sparse_attention"],
    "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128},
}  # fmt: skip
INKLING = {
    "architectures": ["InklingForCausalLM"], "model_type": "inkling_text", "hidden_size": 1024, "head_dim": 64,
    "num_attention_heads": 16, "num_key_value_heads": 4, "swa_num_key_value_heads": 8, "swa_head_dim": 32,
    "local_layer_ids": [0, 2], "sliding_window_size": 512, "conv_kernel_size": 4,
}  # fmt: skip


def specs(model, platform="cpu", tp=1, **serving):
    cache = kv_cache(model, Layout(tp=tp), Serving(max_model_len=8192, **serving), engine_rules(platform))
    return Counter((s.role, s.kind, s.block, s.page, s.window) for s in cache.specs)


def test_both_forms_of_a_v4_config_have_the_same_caches(make):
    found = specs(make(**FLAT))
    assert found == specs(make(**NAMED))
    # The sizes are those that vLLM 0.32 answered for the real checkpoint (data/engine_zoo.jsonl).
    assert found[("window", "window-mla", 64, 37440, 128)] == 4
    assert found[("attention", "mla", 256, 37440, None)] == 2
    assert found[("attention", "mla", 256, 1728, None)] == 1
    assert found[("indexer state", "window-mla", 4, 8640, 8)] == 2


def test_the_draft_of_v4_adds_windows_alone(make):
    more = specs(make(**FLAT), spec_tokens=1) - specs(make(**FLAT))
    assert more == {("draft window", "window-mla", 64, 37440, 128): 1}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"compress_ratios": [0, 4]}, "compress_ratios"),
        ({"compress_ratios": [0, 4, 128, -1]}, "compress_ratios"),
        ({"compress_ratios": "x"}, "compress_ratios"),
        ({"sliding_window": None}, "sliding_window"),
    ],
)
def test_a_v4_config_without_a_field_names_it(make, changes, word):
    with pytest.raises(Lacking, match=word):
        specs(make(**{**FLAT, **changes}))


def test_what_the_v4_layout_does_not_take_is_named(make):
    with pytest.raises(NotModelled, match="ratio of 2"):
        specs(make(**{**FLAT, "compress_ratios": [0, 2, 2, 2]}))
    with pytest.raises(NotModelled, match="ascend"):
        specs(make(**FLAT), "ascend")
    with pytest.raises(NotModelled, match="bfloat16"):
        specs(make(**FLAT), kv_dtype="bfloat16")
    with pytest.raises(NotModelled, match="deepseek_v41"):
        specs(make(**{**FLAT, "model_type": "deepseek_v41"}))
    with pytest.raises(UsageError, match="256"):
        specs(make(**FLAT), "cuda", block_size=64)
    assert specs(make(**FLAT), block_size=64) == specs(make(**FLAT))


def test_inklings_local_layers_have_windows_and_sizes_of_their_own(make):
    found = specs(make(**INKLING), tp=2)
    assert found[("attention", "window", 128, 128 * 4 * 64 * 2, 512)] == 2
    assert found[("attention", "full", 128, 128 * 2 * 128 * 2, None)] == 2
    # 2 x 32 + 2 x 1024 / 8 = 320 rounds to 512; 2 x 64 + 2 x 1024 / 4 = 640 to 1024.
    assert 4 * 4 * 512 * 2 == 4 * 2 * 1024 * 2 == 16384
    assert found[("convolutions", "window", 4, 16384, 4)] == 4


def test_inkling_over_more_ranks_than_heads_is_refused_with_the_numbers(make):
    with pytest.raises(NotModelled, match="4 KV heads over 8"):
        specs(make(**{**INKLING, "local_layer_ids": []}), tp=8)


def spec(page, kind="mla", block=64, window=None):
    return CacheSpec(
        layer=0, role="x", kind=kind, block=block, page=page, content=page, merge=f"{kind} {block} {page} {window}",
        formula="", window=window,
    )  # fmt: skip


def one_type(specs):
    return len({(s.kind, s.block, s.window) for s in specs}) == 1


def test_a_balanced_pattern_decides_how_the_larger_buckets_are_split():
    pattern = [spec(100), spec(10)] * 4
    windows = [spec(50, "window-mla", 32, 128)] * 9
    groups = packed_groups([*pattern, *windows], one_type)
    # Repeats of 5 pad 9 and 4 by 1 + 1, of 9 by 0 + 5: two groups of windows.
    assert [len(g) for g in groups] == [8, 5, 4]


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["mla", "window-mla", "state"])), min_size=1, max_size=40))
def test_no_layer_is_lost_or_doubled_by_packing(layers):
    # States of one group are of one size, as the engine demands.
    made = [spec(100 * (1 if kind == "state" else size), kind, 64 if kind == "mla" else 32) for size, kind in layers]
    try:
        groups = packed_groups(made, one_type)
    except NotModelled:
        assert len({(s.kind, s.page) for s in made}) > 1
        return
    assert Counter(id(s) for g in groups for s in g) == Counter(map(id, made))
    assert all(one_type(g) for g in groups)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 80))
def test_the_divisor_pads_least_and_is_the_largest_of_the_best(values, least):
    found = approximate_divisor(values, least)
    low = max(1, least)
    candidates = range(low, max(*values, low) + 1)
    pads = {d: sum(-v % d for v in values) for d in candidates}
    assert pads[found] == min(pads.values())
    assert found == max(d for d, pad in pads.items() if pad == pads[found])


def test_pages_of_different_sizes_lie_side_by_side_in_the_pool(make):
    serving, rules = Serving(max_model_len=8192), engine_rules("cpu")
    cache = kv_cache(make(**FLAT), Layout(), serving, rules)
    made = pool(cache, serving, rules)
    assert made.how == "packed"
    assert sum(g.layers for g in made.groups) == len(cache.specs)
    assert made.block_bytes == max(g.bytes_per_block for g in made.groups)


def test_a_ring_takes_one_block_and_a_latent_window_no_more_than_its_window(make):
    serving = Serving(max_model_len=8192)
    cache = kv_cache(make(**FLAT), Layout(), serving, engine_rules("cpu"))
    window = next(s for s in cache.specs if s.role == "window")
    assert blocks_of(window, 8192, 2048, cache, serving) == -(-(127 + 2048) // 64) + 1
    assert blocks_of(spec(10, "ring"), 8192, 2048, cache, serving) == 1
