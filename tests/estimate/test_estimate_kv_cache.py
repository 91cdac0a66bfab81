"""The cache of every layer kind, against figures worked out by hand from the published formulas."""

from __future__ import annotations

import pytest

from seatrial.core.errors import UsageError
from seatrial.estimate import EngineRules, Layout, Serving, engine_rules
from seatrial.estimate.kv_groups import capacity, longest, pool
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.model import Lacking, NotModelled

RULES = EngineRules(
    platform="cuda", engine="test", block=16, mla_block=64, kernel_block=16, mla_kernel_block=64, batched_tokens=2048,
    max_seqs=16, sparse_fp8=656,
)  # fmt: skip
MLA = {
    "model_type": "deepseek_v3", "num_attention_heads": 16, "num_key_value_heads": 16, "kv_lora_rank": 512,
    "q_lora_rank": 128, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
}  # fmt: skip
HYBRID = {
    "model_type": "qwen3_next", "full_attention_interval": 4, "linear_num_value_heads": 8, "linear_num_key_heads": 4,
    "linear_key_head_dim": 32, "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4,
}  # fmt: skip


def cache(model, tp=1, **serving):
    return kv_cache(model, Layout(tp=tp), Serving(max_model_len=4096, **serving), RULES)


def test_grouped_query_attention_keeps_k_and_v_of_every_kv_head(make):
    found = cache(make())
    assert [s.page for s in found.specs] == [16 * 2 * (32 + 32) * 2] * 4
    assert found.content_per_token() == 4 * 2 * 64 * 2


@pytest.mark.parametrize(("tp", "heads"), [(1, 2), (2, 1), (4, 1), (8, 1)])
def test_kv_heads_are_split_and_then_copied(make, tp, heads):
    assert cache(make(), tp).specs[0].page == 16 * heads * 64 * 2


def test_latent_attention_keeps_one_vector_on_every_rank(make):
    model = make(**MLA)
    assert {s.page for s in cache(model).specs} == {64 * (512 + 64) * 2}
    assert cache(model, 8).specs == cache(model).specs


def test_deepseek_v3_needs_the_published_70272_bytes_per_token(make):
    # 61 layers x (512 + 64) x 2 bytes: DeepSeek-V3 technical report (arXiv 2412.19437), section 2.1.1.
    found = cache(make(**{**MLA, "num_hidden_layers": 61}))
    assert found.content_per_token() == 61 * 576 * 2 == 70272


def test_the_sparse_indexer_keeps_bytes_and_a_scale_per_128(make):
    found = cache(make(**MLA, index_topk=2048, index_n_heads=64, index_head_dim=128))
    assert {(s.role, s.page) for s in found.specs} == {("attention", 64 * 576 * 2), ("indexer", 64 * 132)}


def test_sparse_attention_in_fp8_has_its_own_layout(make):
    found = cache(make(**MLA, index_topk=2048, index_n_heads=64, index_head_dim=128), kv_dtype="fp8")
    assert next(s.page for s in found.specs if s.role == "attention") == 64 * 656
    plain = cache(make(**MLA), kv_dtype="fp8")
    assert plain.specs[0].page == 64 * 576


@pytest.mark.parametrize(
    ("dtype", "token"),
    [("auto", 2 * 64 * 2), ("fp8", 2 * 64), ("int8_per_token_head", 2 * (64 + 8)), ("nvfp4", 2 * 2 * (16 + 2))],
)
def test_the_cache_dtype_sets_the_bytes(make, dtype, token):
    assert cache(make(), kv_dtype=dtype).specs[0].page == 16 * token


def test_an_unknown_cache_dtype_is_not_guessed(make):
    with pytest.raises(NotModelled, match="int3"):
        cache(make(), kv_dtype="int3")


def test_states_are_padded_to_the_attention_page_and_the_block_grows(make):
    found = cache(make(**HYBRID))
    state = next(s for s in found.specs if s.kind == "state")
    full = next(s for s in found.specs if s.kind == "full")
    content = (3 * (2 * 4 * 32 + 8 * 32) + 8 * 32 * 32) * 2
    assert state.content == content
    assert state.page == full.page >= content
    assert full.block % 16 == 0
    assert full.page - 16 * 2 * 64 * 2 < content


def test_windows_and_full_layers_form_groups_of_equal_size(make):
    kinds = ["sliding_attention", "sliding_attention", "full_attention", "full_attention"]
    model = make(model_type="gemma3_text", layer_types=kinds, sliding_window=128)
    found = cache(model)
    made = pool(found, Serving(max_model_len=4096), RULES)
    assert [(g.layers, g.spec.kind) for g in made.groups] == [(2, "window"), (2, "full")]
    held = capacity(made, 100 * made.block_bytes, 4096, 2048, found, Serving(max_model_len=4096))
    each = -(-(127 + 2048) // 16) + 1 + 256
    assert held.blocks == 100
    assert held.tokens == int(100 / each * 4096)
    assert not held.fits


def test_without_the_hybrid_manager_windows_cost_as_much_as_full_attention(make):
    kinds = ["sliding_attention", "full_attention"] * 2
    model = make(model_type="gemma3_text", layer_types=kinds, sliding_window=128)
    found = cache(model)
    rules = EngineRules(
        platform="cuda", engine="test", block=16, mla_block=64, kernel_block=16, mla_kernel_block=64,
        batched_tokens=2048, max_seqs=16, hybrid_manager=False,
    )  # fmt: skip
    made = pool(found, Serving(max_model_len=4096), rules)
    assert [(g.layers, g.spec.kind) for g in made.groups] == [(4, "full")]


def test_the_longest_context_just_fits(make):
    found = cache(make())
    serving = Serving(max_model_len=4096)
    made = pool(found, serving, RULES)
    memory = 41 * made.block_bytes
    most = longest(made, memory, 4, 4096, 2048, found, serving)
    assert most == 10 * 16  # 40 usable blocks, one is the engine's null block
    assert capacity(made, memory, most, 2048, found, serving).concurrency >= 4


def test_a_config_without_heads_lacks_the_field(make):
    model = make(num_attention_heads=None, num_key_value_heads=None)
    with pytest.raises(Lacking) as error:
        cache(model)
    assert error.value.field == "num_attention_heads"


def test_a_block_that_the_kernels_do_not_take_is_refused_with_the_numbers(make):
    with pytest.raises(UsageError) as error:
        kv_cache(make(), Layout(), Serving(max_model_len=4096, block_size=48), engine_rules("cpu"))
    assert "--block-size 48 is no multiple of 32" in error.value.one_line()
    assert "Give 64" in error.value.one_line()
    assert kv_cache(make(), Layout(), Serving(max_model_len=4096, block_size=96), engine_rules("cpu")).block == 96


def test_where_the_kernels_block_was_not_proven_another_one_is_told_and_not_refused(make):
    found = kv_cache(make(), Layout(), Serving(max_model_len=4096, block_size=48), engine_rules("ascend"))
    assert any("--block-size 48" in n and "unknown" in n for n in found.notes)


def test_the_cpu_engine_sets_the_block_of_mla_itself_and_the_plan_says_so(make):
    rules = engine_rules("cpu")
    found = kv_cache(make(**MLA), Layout(), Serving(max_model_len=4096, block_size=1024), rules)
    assert found.block == rules.mla_block
    assert any(f"takes {rules.mla_block} for MLA" in n for n in found.notes)


def test_a_cache_dtype_without_a_formula_names_the_flag(make):
    with pytest.raises(NotModelled, match="--kv-cache-dtype int8"):
        cache(make(), kv_dtype="int8")
