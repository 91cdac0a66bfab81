"""Which layers keep what: encoders, shared indexers, own sizes, attention beside a state, an encoder's keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.estimate.test_estimate_engine_figures import RULES

from seatrial.cli.main import program
from seatrial.core.quantity import Quantity, Source
from seatrial.estimate import Layout, Serving, engine_rules, make_plan, read_model
from seatrial.estimate.compute import lay_out
from seatrial.estimate.indexers import without_indexer
from seatrial.estimate.kv_layers import kv_cache
from seatrial.estimate.matrices_attention import mixer_matrices
from seatrial.estimate.model import Lacking, NotModelled

ONE = Layout()
SHORT = Serving(max_model_len=4096)
DEVICE = Quantity(value=16 * 2**30, unit="bytes", source=Source.DECLARED, note="test")
SPARSE = {
    "architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "num_hidden_layers": 8, "kv_lora_rank": 512,
    "q_lora_rank": 256, "qk_nope_head_dim": 32, "qk_rope_head_dim": 64, "v_head_dim": 32, "index_topk": 128,
    "index_n_heads": 4, "index_head_dim": 128,
}  # fmt: skip


def of(model, serving=SHORT):
    return kv_cache(model, ONE, serving, RULES).specs


def test_a_model_that_looks_both_ways_keeps_nothing_and_no_tokens_are_invented(make):
    model = make(architectures=["BertModel"], model_type="bert", type_vocab_size=2, max_position_embeddings=8192)
    plan = make_plan(model, ONE, Serving(), RULES, DEVICE, requests=4)
    assert plan.cache is not None
    assert plan.cache.specs == ()
    assert plan.capacity is None
    assert plan.most.tokens is None
    assert plan.most.requests is None
    assert any("keeps no KV cache" in n for n in plan.notes)
    assert plan.asked.batched_tokens == 8192  # the engine's own default for what passes in one step


def test_is_causal_false_is_heeded_where_the_engines_class_asks_for_it(make):
    assert of(make(is_causal=False)) == ()
    assert len(of(make(is_causal=True))) == 4
    assert len(of(make(is_causal=False, model_type="olmo"))) == 4


def test_a_model_that_generates_nothing_has_no_bounds(make):
    model = make(architectures=["BertModel"], model_type="bert", type_vocab_size=2)
    with pytest.raises(NotModelled, match="no KV cache"):
        lay_out(model, ONE, SHORT, RULES)


def test_the_command_says_that_none_is_kept(tmp_path, make):
    model = make(architectures=["BertModel"], model_type="bert", type_vocab_size=2)
    told = CliRunner().invoke(program, ["plan", model.card.folder, "--memory", "16", "--json"])
    assert told.exit_code == 0, told.output
    plan = json.loads(told.output)
    plan = plan.get("plan", plan)
    assert plan["capacity"] is None
    assert plan["cache"]["specs"] == []


def test_only_layers_with_an_indexer_of_their_own_cache_its_keys(make):
    def indexed(**changes):
        model = make(**{**SPARSE, **changes})
        roles = [s.layer for s in of(model) if s.role == "indexer"]
        indexers = [m for m in mixer_matrices(model, model.card.attention.mixers[0], tuple(range(8)), 1)
                    if m.part == "indexer"]  # fmt: skip
        assert all(list(m.layers) == roles for m in indexers)
        return roles

    assert indexed() == list(range(8))
    assert indexed(index_topk_freq=4) == [0, 1, 5]
    assert indexed(index_topk_freq=4, index_skip_topk_offset=3) == [0, 1, 2, 6]
    assert indexed(index_topk_pattern="FFSSFSSS") == [0, 1, 4]
    # Only HY-V4's class heeds indexer_types.
    kinds = ["full", "shared"] * 4
    assert indexed(indexer_types=kinds) == list(range(8))
    assert indexed(indexer_types=kinds, model_type="hy_v4") == [0, 2, 4, 6]
    with pytest.raises(Lacking, match="indexer_types"):
        without_indexer(make(**{**SPARSE, "model_type": "hy_v4", "indexer_types": ["full"]}))


def test_a_latent_that_the_engine_does_not_know_is_cached_by_heads(make):
    latent = {k: v for k, v in SPARSE.items() if not k.startswith("index")}
    (known,) = {s.page // s.block for s in of(make(**latent))}
    (other,) = {s.page // s.block for s in of(make(**{**latent, "model_type": "minicpm3"}))}
    assert known == (512 + 64) * 2
    assert other == 8 * (32 + 64) * 2 * 2
    # What must be computed is not padded: K of 96 and V of 32 for 8 heads.
    work = lay_out(make(**{**latent, "model_type": "minicpm3"}), ONE, SHORT, RULES)
    assert {m.pair_flops for m in work.mixings} == {2 * 8 * (96 + 32)}


def test_layers_with_sizes_of_their_own_have_caches_of_their_own(make):
    rows = {"01": {"head_dim": 64}, "3": {"num_key_value_heads": 1, "sliding_window": 256}}
    found = {s.layer: (s.page // s.block, s.window) for s in of(make(per_layer_config=rows))}
    assert found == {0: (256, None), 1: (512, None), 2: (256, None), 3: (128, 256)}


def test_cohere_sees_one_token_more_than_its_window(make):
    config = {
        "model_type": "cohere2",
        "sliding_window": 512,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }
    assert [s.window for s in of(make(**config))] == [513, None, 513, None]


def test_attention_beside_a_state_keeps_both(make):
    sizes = {"mamba_n_heads": 8, "mamba_d_head": 64, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_d_conv": 4}
    specs = of(make(model_type="falcon_h1", **sizes))
    assert [s.kind for s in specs] == ["full", "state"] * 4


def test_an_encoders_keys_are_kept_beside_each_layers_own(make):
    config = {"model_type": "whisper", "is_encoder_decoder": True}
    specs = of(make(**config), Serving(max_model_len=448, encoder_tokens=1500))
    assert [s.kind for s in specs] == ["full", "cross"] * 4
    assert {s.encoder for s in specs if s.kind == "cross"} == {1500}
    with pytest.raises(NotModelled, match="is_encoder_decoder"):
        of(make(model_type="bart", is_encoder_decoder=True))


def test_falcon_heeds_its_kv_heads_only_in_the_new_architecture(make):
    def heads(**changes):
        return make(model_type="falcon", num_key_value_heads=None, num_kv_heads=8, **changes).card.attention.kv_heads

    assert heads() == 1
    assert heads(multi_query=False) == 8
    assert heads(new_decoder_architecture=True) == 8


def test_on_ascend_the_indexers_keys_lie_beside_the_latent_in_the_models_dtype(make):
    model = make(**SPARSE, index_topk_freq=4)
    specs = kv_cache(model, ONE, SHORT, engine_rules("ascend")).specs
    assert [s.page // s.block for s in specs] == [2 * (512 + 64 + (128 if i in (0, 1, 5) else 0)) for i in range(8)]


def test_a_checkpoint_that_says_c8_keeps_one_byte_per_element_on_ascend_alone(make):
    folder = Path(make().card.folder)
    said = {"model_quant_type": "W8A8", "kv_cache_type": "C8", "model.layers.0.self_attn.q_proj.weight": "W8A8"}
    (folder / "quant_model_description.json").write_text(json.dumps(said))
    model = read_model(folder)
    cache = kv_cache(model, ONE, SHORT, engine_rules("ascend"))
    assert {s.page // s.block for s in cache.specs} == {2 * 2 * 32}
    assert any("kv_cache_type C8" in n for n in cache.notes)
    assert {s.page // s.block for s in of(model)} == {2 * 2 * 32 * 2}
    with pytest.raises(NotModelled, match='"kv_cache_type": "C8"'):
        kv_cache(make(), ONE, Serving(max_model_len=4096, kv_dtype="int8"), engine_rules("ascend"))
