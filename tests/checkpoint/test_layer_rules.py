"""Each way a config spells which layer is which, on a config that uses only that way."""

from __future__ import annotations

import pytest
from checkpoint_maker import TINY, write_config

from seatrial.checkpoint import read_card

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
    ],
)  # fmt: skip
def test_the_kind_of_each_layer(tmp_path, config, kinds):
    attention = card(tmp_path, **config).attention
    assert [attention.mixers[i].kind for i in attention.pattern] == kinds


@pytest.mark.parametrize(
    ("config", "windows"),
    [
        ({"sliding_window": 8}, [8, 8, 8, 8]),
        ({"sliding_window": 8, "use_sliding_window": False}, [None] * 4),
        ({"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 3}, [None, None, None, 8]),
        ({"sliding_window": 8, "sliding_window_pattern": 2}, [8, None, 8, None]),
        ({"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}, [8, None, 8, None]),
        ({"attention_chunk_size": 16, "no_rope_layers": [1, 0, 1, 0]}, [16, None, 16, None]),
        ({"attention_chunk_size": 16}, [16, 16, 16, None]),
    ],
)
def test_the_window_or_chunk_of_each_layer(tmp_path, config, windows):
    attention = card(tmp_path, **config).attention
    mixers = [attention.mixers[i] for i in attention.pattern]
    assert [m.window or m.chunk for m in mixers] == windows


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
    ],
)
def test_which_layers_have_experts(tmp_path, config, pattern):
    found = card(tmp_path, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, **config)
    assert list(found.feed_forward.pattern) == pattern


def test_a_list_that_does_not_fit_the_layers_is_an_error_and_not_used(tmp_path):
    found = card(tmp_path, layer_types=["sliding_attention"] * 3, sliding_window=8)
    assert any(f.code == "C052" and "layer_types" in f.place for f in found.findings)


def test_an_unknown_kind_of_layer_is_reported(tmp_path):
    found = card(tmp_path, layer_types=["quantum_attention"] * 4)
    assert any(f.code == "C053" and "quantum" in f.message for f in found.findings)
    assert {m.kind for m in found.attention.mixers} == {"unknown"}
    assert found.parameters.total.value is None
