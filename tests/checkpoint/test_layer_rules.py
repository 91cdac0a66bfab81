"""Each way a config spells which layer is which, on a config that uses only that way."""

from __future__ import annotations

import pytest
from checkpoint_maker import TINY, write_config

from seatrial.checkpoint import read_card
from seatrial.core.finding import Severity

GDN = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
}  # fmt: skip
MAMBA = {"mamba_num_heads": 4, "mamba_head_dim": 8, "ssm_state_size": 16, "n_groups": 1, "conv_kernel": 4}
A, G, M, N, L = "GQA", "gated-deltanet", "mamba2", "none", "linear"


def card(tmp_path, **config):
    write_config(tmp_path / "m", {**TINY, "num_hidden_layers": 4, **config})
    return read_card(tmp_path / "m")


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        ({"full_attention_interval": 4, **GDN}, [G, G, G, A]),
        ({"layer_types": ["linear_attention", "full_attention"] * 2, **GDN}, [G, A, G, A]),
        ({"hybrid_override_pattern": "M*-E", **MAMBA}, [M, A, N, N]),
        ({"layers_block_type": ["mamba", "attention", "mlp", "moe"], **MAMBA}, [M, A, N, N]),
        ({"attn_type_list": [0, 0, 0, 1]}, [L, L, L, A]),
        ({"attn_layer_period": 4, "attn_layer_offset": 1, **MAMBA}, [M, A, M, M]),
        ({"linear_attn_config": {"kda_layers": [1, 2, 4], "full_attn_layers": [3]}}, ["kda", "kda", A, "kda"]),
        ({"block_configs": [{"attention": {"no_op": True}}, {"attention": {"replace_with_linear": True}},
                            {"attention": {"n_heads_in_group": 2}}, {"attention": {"n_heads_in_group": 4}}]},
         [N, L, A, "MQA"]),
        ({"attn_layer_indices": [1], **MAMBA}, [M, A, M, M]),
        ({"full_attn_idxs": [1, 3]}, ["conv", A, "conv", A]),
        ({"model_type": "bailing_hybrid", "layer_group_size": 2}, [L, A, L, A]),
    ],
)  # fmt: skip
def test_the_kind_of_each_layer(tmp_path, config, kinds):
    attention = card(tmp_path, **config).attention
    assert [attention.mixers[i].kind for i in attention.pattern] == kinds


@pytest.mark.parametrize(
    ("config", "windows"),
    [
        ({"sliding_window": 8, "model_type": "mistral"}, [8, 8, 8, 8]),
        ({"sliding_window": 8, "max_window_layers": 3}, [None] * 4),  # Qwen's class uses none unless told to
        ({"sliding_window": 8, "model_type": "dots1", "max_window_layers": 3}, [None, None, None, 8]),
        ({"sliding_window": 8, "model_type": "cohere2"}, [8, 8, 8, None]),
        ({"sliding_window": 8, "model_type": "gpt_oss"}, [8, None, 8, None]),
        ({"sliding_window": 8, "model_type": "cwm"}, [None, 8, 8, 8]),
        ({"sliding_window": 8, "model_type": "afmoe", "global_attn_every_n_layers": 2}, [8, None, 8, None]),
        ({"sliding_window": 8, "model_type": "exaone4", "sliding_window_pattern": "LLG"}, [8, 8, None, 8]),
        ({"interleaved_sliding_window": [8, None]}, [8, None, 8, None]),
        ({"interleaved_sliding_window": 8}, [8, 8, 8, 8]),
        ({"sliding_window": [8, 16, None, 8], "model_type": "plamo3"}, [8, 16, None, 8]),
        ({"hybrid_layer_pattern": [0, 1, 1, 0], "sliding_window_size": 8, "sliding_window": 8}, [None, 8, 8, None]),
        # Step-3.5 lists its MTP layers too.
        ({"layer_types": ["sliding_attention", "full_attention"] * 3, "sliding_window": 8,
          "num_nextn_predict_layers": 2}, [8, None, 8, None]),
        ({"sliding_window": 8, "use_sliding_window": False}, [None] * 4),
        ({"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 3}, [None, None, None, 8]),
        ({"sliding_window": 8, "sliding_window_pattern": 2, "model_type": "gemma3_text"}, [8, None, 8, None]),
        ({"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}, [8, None, 8, None]),
        ({"attention_chunk_size": 16, "no_rope_layers": [1, 0, 1, 0]}, [16, None, 16, None]),
        ({"attention_chunk_size": 16}, [16, 16, 16, None]),
    ],
)  # fmt: skip
def test_the_window_or_chunk_of_each_layer(tmp_path, config, windows):
    attention = card(tmp_path, **config).attention
    mixers = [attention.mixers[i] for i in attention.pattern]
    assert [m.window or m.chunk for m in mixers] == windows


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "mimo_v2_flash", "hybrid_layer_pattern": [0, 1, 0, 1], "sliding_window_size": 8, "v_head_dim": 8,
         "swa_num_attention_heads": 8, "swa_num_key_value_heads": 4, "swa_head_dim": 24, "swa_v_head_dim": 12},
        {"model_type": "step3p5", "layer_types": ["full_attention", "sliding_attention"] * 2, "sliding_window": 8,
         "v_head_dim": 8, "attention_other_setting": {"attention_type": "sliding_attention", "num_attention_heads": 8,
                                                      "num_attention_groups": 4, "head_dim": 24}},
    ],
)  # fmt: skip
def test_windowed_layers_with_heads_of_their_own(tmp_path, config):
    found = card(tmp_path, **config)
    full, window = (found.attention.mixers[i] for i in found.attention.pattern[:2])
    assert (full.heads, full.kv_heads, full.head_dim, full.value_head_dim, full.window) == (4, 2, 16, 8, None)
    own = 12 if "swa_v_head_dim" in config else 8
    assert (window.heads, window.kv_heads, window.head_dim, window.value_head_dim, window.window) == (8, 4, 24, own, 8)
    assert not [f for f in found.findings if f.severity is Severity.ERROR]


def test_a_rope_base_per_layer_is_read_by_the_layers_kind(tmp_path):
    found = card(
        tmp_path,
        model_type="step3p5",
        layer_types=["full_attention", "sliding_attention"] * 2,
        sliding_window=8,
        rope_theta=[5e6, 1e4, 5e6, 1e4],
        partial_rotary_factors=[0.5, 1.0, 0.5, 1.0],
    )
    kinds = found.attention.rope.kinds
    assert {k: (r.theta, r.partial) for k, r in kinds.items()} == {
        "full_attention": (5e6, 0.5),
        "sliding_attention": (1e4, 1.0),
    }
    assert not [f for f in found.findings if f.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("config", "pattern"),
    [
        ({}, ["moe"] * 4),
        ({"mlp_only_layers": [0]}, ["dense", "moe", "moe", "moe"]),
        ({"decoder_sparse_step": 2}, ["dense", "moe", "dense", "moe"]),
        ({"first_k_dense_replace": 2, "moe_layer_freq": 1}, ["dense", "dense", "moe", "moe"]),
        ({"moe_layer_freq": [0, 1, 0, 1]}, ["dense", "moe", "dense", "moe"]),
        ({"interleave_moe_layer_step": 2}, ["dense", "moe", "dense", "moe"]),
        ({"expert_layer_period": 2, "expert_layer_offset": 0}, ["moe", "dense", "moe", "dense"]),
        ({"mlp_layer_types": ["dense", "sparse", "sparse", "sparse"]}, ["dense", "moe", "moe", "moe"]),
        ({"enable_moe_block": True}, ["dense+moe"] * 4),
        ({"moe_layers_enum": "2,3"}, ["dense", "dense", "moe", "moe"]),
        ({"moe_layers_enum": [1, 3]}, ["dense", "moe", "dense", "moe"]),
        ({"num_dense_layers": 2}, ["dense", "dense", "moe", "moe"]),
        # ERNIE counts its interval from 1, its end may be -1, and its vision form has a number for each modality.
        ({"moe_layer_start_index": 1, "moe_layer_end_index": -1, "moe_layer_interval": 1}, ["dense"] + ["moe"] * 3),
        ({"moe_layer_start_index": 0, "moe_layer_interval": 2}, ["dense", "moe", "dense", "moe"]),
        ({"moe_layer_start_index": [2, 1], "moe_layer_end_index": [2, 3]}, ["dense"] + ["moe"] * 3),
        ({"num_shared_expert": [1, 1, 1, 1]}, ["moe"] * 4),
    ],
)
def test_which_layers_have_experts(tmp_path, config, pattern):
    found = card(tmp_path, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, **config)
    assert list(found.feed_forward.pattern) == pattern
    assert not [f for f in found.findings if f.severity is Severity.ERROR]


def test_dbrx_keeps_experts_and_kv_heads_in_sections(tmp_path):
    found = card(
        tmp_path,
        num_key_value_heads=None,
        intermediate_size=None,
        attn_config={"kv_n_heads": 2},
        ffn_config={"moe_num_experts": 4, "moe_top_k": 2, "ffn_hidden_size": 32},
    )
    moe = found.feed_forward.moe
    assert found.attention.kv_heads == 2
    assert (moe.experts, moe.experts_per_token, moe.intermediate_size) == (4, 2, 32)
    assert found.feed_forward.pattern == ("moe",) * 4


def test_a_list_that_does_not_fit_the_layers_is_an_error_and_not_used(tmp_path):
    found = card(tmp_path, layer_types=["sliding_attention"] * 3, sliding_window=8)
    assert any(f.code == "C052" and "layer_types" in f.place for f in found.findings)


def test_an_unknown_kind_of_layer_is_reported(tmp_path):
    found = card(tmp_path, layer_types=["quantum_attention"] * 4)
    assert any(f.code == "C053" and "quantum" in f.message for f in found.findings)
    assert {m.kind for m in found.attention.mixers} == {"unknown"}
    assert found.parameters.total.value is None


def test_whole_experts_need_not_divide_but_each_rank_has_one(tmp_path):
    found = card(tmp_path, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=64, num_attention_heads=8)
    checks = {c.size: c for c in found.tensor_parallel}
    assert checks[4].expert_parallel == ()
    assert checks[8].expert_parallel == ("experts: 6 are fewer than 8 ranks",)


def test_shared_experts_are_split_by_width_under_expert_parallelism_too(tmp_path):
    found = card(
        tmp_path,
        n_routed_experts=8,
        num_experts_per_tok=2,
        moe_intermediate_size=128,
        n_shared_experts=1,
        first_k_dense_replace=0,
        quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic",
                             "modules_to_not_convert": ["self_attn"]},
    )  # fmt: skip
    checks = {c.size: c for c in found.tensor_parallel}
    assert checks[1].expert_parallel == ()
    assert any("shared expert" in p and "128/2 = 64" in p for p in checks[2].expert_parallel)
