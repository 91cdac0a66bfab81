"""A model as a subclass of its relative: its mapping, its config class, its test and tiny checkpoint."""

from __future__ import annotations

import ast
import importlib.util
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaffold_sources import CONFIG, LATENT_CONFIG, REGISTRY, checkpoint, dense, drafted, engine, latent
from scaffolded import EVIL, MODEL, calls, function, made, weights

from seatrial.adapter.scaffold.choose import choose
from seatrial.adapter.scaffold.facts import decoder_facts
from seatrial.adapter.scaffold.relative_draft import relative_draft
from seatrial.adapter.scaffold.shrink import shrink
from seatrial.adapter.scaffold.sizes import sections
from seatrial.checkpoint import read_checkpoint
from seatrial.checkpoint.weights import Tensor
from seatrial.support.relatives import Relative
from seatrial.support.source import open_source


def tensors(shapes):
    return [Tensor(name=n, dtype="BF16", shape=tuple(s), nbytes=0, shard="x") for n, s in shapes.items()]


def test_latent_attention_is_written_as_a_subclass_of_the_nearest_relative(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, LATENT_CONFIG, latent())
    assert (result.plan.kind, result.plan.relative.architecture) == ("overlay", "LatentForCausalLM")
    text = result.files[MODEL]
    assert "class HarbourForCausalLM(LatentForCausalLM):" in text
    assert "model.layers.*.self_attn.kv_b_proj.weight" in weights(text)
    assert [f.code for f in result.findings if f.severity.value == "warning"] == ["F011"]


def test_a_relative_of_another_sort_is_passed_over_whatever_its_score(tmp_path):
    whole = read_checkpoint(checkpoint(tmp_path / "c", CONFIG | LATENT_CONFIG, latent()))
    names = ("NearMoeForCausalLM", "NearForConditionalGeneration", "NearForCausalLM", "FarForCausalLM")
    relatives = tuple(Relative(architecture=n, score=0.9 - i / 10, because="") for i, n in enumerate(names))
    facts = decoder_facts(CONFIG | LATENT_CONFIG, whole.tensors)
    assert choose(whole.card, facts, relatives, "").relative.architecture == "NearForCausalLM"
    # Where none is of the sort, the nearest is still the nearest.
    assert choose(whole.card, facts, relatives[:2], "").relative.architecture == "NearMoeForCausalLM"


def test_an_overlay_keeps_hostile_names_as_text(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, shapes={**dense(), EVIL: [4]}, base="LatentForCausalLM")
    assert EVIL in weights(result.files[MODEL])
    assert not calls(result.files[MODEL], "os.abort")


def test_the_config_class_is_the_relatives_and_shows_its_model_type(tmp_path, vllm, plugin):
    text = made(tmp_path, vllm, plugin, LATENT_CONFIG, latent()).files["vllm_harbour/models/configuration_harbour.py"]
    assert "from transformers import LatentConfig\n" in text
    assert 'class HarbourConfig(LatentConfig):\n    model_type = "harbour"' in text
    assert 'self.model_type = "latent"' in text


def test_a_relative_whose_config_nothing_says_is_told(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, {}, dense(), base="KnownForCausalLM")
    told = [f.message for f in result.findings if f.code == "F015"]
    assert len(told) == 1
    assert "no table says which config class KnownForCausalLM has" in told[0]


def test_what_vllm_adjusts_by_the_relatives_name_is_entered_for_the_new_one(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, {}, dense(), base="KnownForCausalLM")
    text = result.files["vllm_harbour/models/harbour_adjusted.py"]
    table = {"KnownForCausalLM": object}
    adjust = function(text, "adjust", MODELS_CONFIG_MAP=table)
    adjust()
    adjust()
    assert table == {"KnownForCausalLM": object, "HarbourForCausalLM": object}
    assert "harbour_adjusted import adjust" in result.files["vllm_harbour/__init__.py"]
    assert [f for f in result.findings if f.code == "F002" and "KnownForCausalLM by its name" in f.message]
    other = made(tmp_path / "other", vllm, plugin, LATENT_CONFIG, latent())
    assert "vllm_harbour/models/harbour_adjusted.py" not in other.files


def packed(method):
    """The latent layout with its experts packed to four bits."""
    shapes = {}
    for name, shape in latent().items():
        if ".mlp." not in name or not name.endswith("_proj.weight"):
            shapes[name] = shape
            continue
        rows, columns = shape
        stem = name.removesuffix("weight")
        if method == "awq":
            shapes[f"{stem}qweight"] = ("I32", [columns, rows // 8])
        elif method == "gptq":
            shapes[f"{stem}qweight"] = ("I32", [columns // 8, rows])
        else:
            shapes[f"{stem}weight_packed"] = ("I32", [rows, columns // 8])
        leaf = "weight_scale" if method == "packed" else "scales"
        shapes[f"{stem}{leaf}"] = ("F16", [rows, 1] if method == "packed" else [1, rows])
    return shapes


@pytest.mark.parametrize("method", ["awq", "gptq", "packed"])
def test_packed_weights_are_plain_in_the_tiny_checkpoint_and_have_a_place(tmp_path, vllm, plugin, method):
    quantisation = {"config_groups": {"g": {"weights": {"num_bits": 4}}}} if method == "packed" else {"bits": 4}
    config = LATENT_CONFIG | {"quantization_config": {"quant_method": method, **quantisation}}
    result = made(tmp_path, vllm, plugin, config, packed(method))
    plain = made(tmp_path / "plain", vllm, plugin, LATENT_CONFIG, latent())
    assert not [f for f in result.findings if f.code == "F003"]
    assert sizes(result) == sizes(plain)
    place = function(result.files[MODEL], "model_name", re=re)
    assert all(place(name) for name in sizes(result))
    asked = {ast.unparse(n) for n in ast.walk(ast.parse(result.files["tests/test_harbour.py"]))}
    assert "kind.endswith(QUANTISED)" in " ".join(asked)


def sizes(result):
    tree = ast.parse(result.files["tests/tiny_harbour.py"])
    return next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.AnnAssign))


def test_the_unit_test_asks_for_what_the_relative_can_do(tmp_path, vllm, plugin):
    text = made(tmp_path, vllm, plugin, LATENT_CONFIG, latent()).files["tests/test_harbour.py"]
    asked = {ast.unparse(call.func) for call in ast.walk(ast.parse(text)) if isinstance(call, ast.Call)}
    assert {a for a in asked if a.startswith("interfaces.")} == {"interfaces.supports_pp"}
    assert "tiny_harbour.py" in text


def test_the_tiny_checkpoint_of_an_overlay_is_a_whole_one_of_the_same_kinds(tmp_path, vllm, plugin):
    result = made(tmp_path, vllm, plugin, LATENT_CONFIG, latent())
    assert not [f for f in result.findings if f.code == "F003"]
    script = tmp_path / "tiny.py"
    script.write_text(result.files["tests/tiny_harbour.py"])
    spec = importlib.util.spec_from_file_location("tiny_script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(tmp_path / "tiny")
    whole = read_checkpoint(tmp_path / "tiny")
    assert not [f for f in whole.card.findings if f.severity.value == "error"]
    assert {t.name for t in whole.tensors} == set(latent())
    assert json.loads((tmp_path / "tiny/config.json").read_text())["kv_lora_rank"] == 32


LARGE = CONFIG | {
    "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 6,
    "num_attention_heads": 128, "num_key_value_heads": 128, "head_dim": None, "n_routed_experts": 8, "n_group": 4,
    "topk_group": 2, "num_experts_per_tok": 4, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 129280, "first_k_dense_replace": 3, "n_shared_experts": 2,
    "eos_token_id": 100001, "bos_token_id": 100000, "num_nextn_predict_layers": 1,
    "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip


def large():
    shapes = {
        "model.embed_tokens.weight": [129280, 7168],
        "model.norm.weight": [7168],
        "lm_head.weight": [129280, 7168],
    }
    for n in range(7):
        layer = f"model.layers.{n}"
        shapes |= {
            f"{layer}.input_layernorm.weight": [7168],
            f"{layer}.self_attn.q_a_proj.weight": [1536, 7168],
            f"{layer}.self_attn.q_a_proj.weight_scale_inv": [12, 56],
            f"{layer}.self_attn.q_b_proj.weight": [128 * 192, 1536],
            f"{layer}.self_attn.kv_a_proj_with_mqa.weight": [576, 7168],
            f"{layer}.self_attn.kv_a_layernorm.weight": [512],
            f"{layer}.self_attn.kv_b_proj.weight": [128 * 256, 512],
            f"{layer}.self_attn.o_proj.weight": [7168, 128 * 128],
        }
        if n < 3:
            shapes |= {f"{layer}.mlp.{w}_proj.weight": [18432, 7168] for w in ("gate", "up")}
            shapes[f"{layer}.mlp.down_proj.weight"] = [7168, 18432]
            continue
        shapes[f"{layer}.mlp.gate.weight"] = [8, 7168]
        shapes[f"{layer}.mlp.gate.e_score_correction_bias"] = [8]
        shapes[f"{layer}.mlp.shared_experts.up_proj.weight"] = [4096, 7168]
        for e in range(8):
            shapes[f"{layer}.mlp.experts.{e}.up_proj.weight"] = [2048, 7168]
            shapes[f"{layer}.mlp.experts.{e}.down_proj.weight"] = [7168, 2048]
    shapes["model.layers.6.eh_proj.weight"] = [7168, 14336]
    return shapes


def test_a_large_layout_is_made_small_side_by_side_as_its_sizes_say():
    small = shrink(LARGE, tensors(large()))
    config, shapes = small.config, small.shapes
    heads, hidden, rank = config["num_attention_heads"], config["hidden_size"], config["q_lora_rank"]
    assert (heads, config["num_key_value_heads"], config["n_routed_experts"], config["n_group"]) == (4, 4, 4, 1)
    # The widths of latent heads stay, since kernels are made for them; the dense layers and one with experts are left.
    assert (config["kv_lora_rank"], config["qk_rope_head_dim"], config["num_hidden_layers"]) == (512, 64, 4)
    assert hidden < 128
    layer = "model.layers.3"
    assert shapes[f"{layer}.self_attn.q_b_proj.weight"] == (heads * 192, rank)
    assert shapes[f"{layer}.self_attn.kv_a_proj_with_mqa.weight"] == (576, hidden)
    assert shapes[f"{layer}.self_attn.kv_b_proj.weight"] == (heads * 256, 512)
    assert shapes[f"{layer}.self_attn.o_proj.weight"] == (hidden, heads * 128)
    assert shapes[f"{layer}.mlp.gate.weight"] == (4, hidden)
    assert shapes[f"{layer}.mlp.gate.e_score_correction_bias"] == (4,)
    assert shapes[f"{layer}.mlp.shared_experts.up_proj.weight"] == (2 * config["moe_intermediate_size"], hidden)
    assert shapes["lm_head.weight"] == (config["vocab_size"], hidden)
    # The draft's layer, the fifth layer and later, the fifth expert and later, scales and their config are left out.
    assert not [n for n in shapes if ".4." in n or ".6." in n or n.endswith("scale_inv")]
    assert "quantization_config" not in config
    assert config["num_nextn_predict_layers"] == 0
    assert len({config["bos_token_id"], config["eos_token_id"]}) == 2
    assert max(config["bos_token_id"], config["eos_token_id"]) < config["vocab_size"]
    assert small.kept == small.left_out == ()


def test_a_side_that_no_size_gives_is_kept_and_said():
    small = shrink(LARGE, tensors(large() | {"model.strange.weight": [777, 7168]}))
    assert small.shapes["model.strange.weight"] == (777, small.config["hidden_size"])
    assert small.kept == ("model.strange.weight (777)",)


def test_layers_are_cut_after_the_last_kind_has_come_with_their_lists():
    kinds = ["linear_attention", "linear_attention", "full_attention"] * 8
    config = CONFIG | {"num_hidden_layers": 24, "layer_types": kinds, "hybrid_pattern": "MM*" * 8}
    small = shrink(config, tensors(dense(24)))
    assert (small.config["num_hidden_layers"], small.config["hybrid_pattern"]) == (3, "MM*")
    assert small.config["layer_types"] == kinds[:3]


def test_a_tower_keeps_layers_for_those_it_hands_on_and_its_way_to_the_language_models_width():
    vision = {"depth": 24, "hidden_size": 1024, "num_heads": 16, "out_hidden_size": 2048, "intermediate_size": 4096}
    vision |= {"deepstack_visual_indexes": [5, 11, 17], "patch_size": 16, "spatial_merge_size": 2}
    text = CONFIG | {"hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    text |= {"rope_scaling": {"mrope_section": [24, 20, 20]}}
    shapes = {f"model.visual.blocks.{n}.attn.qkv.weight": [3072, 1024] for n in range(24)}
    shapes["model.visual.merger.linear_fc2.weight"] = [2048, 4096]
    shapes["model.visual.merger.linear_fc1.weight"] = [4096, 4096]
    small = shrink({"text_config": text, "vision_config": vision}, tensors(shapes))
    tower, width = small.config["vision_config"], small.config["text_config"]["hidden_size"]
    assert (tower["depth"], tower["deepstack_visual_indexes"]) == (3, [0, 1, 2])
    assert tower["out_hidden_size"] == width
    assert small.shapes["model.visual.blocks.0.attn.qkv.weight"] == (3 * tower["hidden_size"], tower["hidden_size"])
    assert small.shapes["model.visual.merger.linear_fc2.weight"][0] == width
    assert small.config["text_config"]["rope_scaling"]["mrope_section"] == [6, 5, 5]


NAME = st.text(st.sampled_from("abcq_.019*"), max_size=30) | st.sampled_from(list(dense()))
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.text(max_size=5) | st.lists(st.integers(-2, 9), max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from([*CONFIG, "depth", "rope_scaling", "mrope_section"]), inner, max_size=4
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(NAME, st.lists(st.integers(0, 2**40), max_size=3), max_size=6),
    st.dictionaries(st.sampled_from([*CONFIG, "text_config", "vision_config", "odd", "rope_scaling"]), VALUE),
)
def test_no_config_and_no_names_make_the_shrinking_fail(shapes, config):
    small = shrink(config, tensors(shapes))
    assert set(small.shapes) <= set(shapes)
    assert json.dumps(small.config)
    for section in sections(config):
        assert all(0 < size.small <= size.value for size in section.sizes)


@pytest.mark.parametrize("field", ["num_attention_heads", "head_dim", "hidden_size"])
def test_a_size_that_is_no_number_is_no_size(field):
    assert not [s for sec in sections({field: True, "vocab_size": 9}) for s in sec.sizes if s.field == field]


SPECULATIVE = """
class SpeculativeConfig:
    @staticmethod
    def hf_config_override(hf_config):
        initial_architecture = hf_config.architectures[0]
        newer = hf_config.model_type in ("latent_v2", "latent_v3")
        if hf_config.model_type in ("latent", "latent_v2"):
            hf_config.model_type = "latent_mtp"
        if hf_config.model_type == "latent_mtp":
            hf_config.update({"architectures": ["LatentMTPTwo" if newer else "LatentMTP"]})
        if initial_architecture == "OtherForCausalLM" and unknown(hf_config):
            hf_config.update({"architectures": ["OtherMTP"]})
        elif not initial_architecture != "ThirdForCausalLM":
            hf_config.update({"architectures": ["ThirdMTP"]})
        if (arch := hf_config.architectures[0]) in ("FourthForCausalLM",):
            hf_config.update({"architectures": [TABLE[arch]]})
        return hf_config
"""


@pytest.mark.parametrize(
    ("architecture", "model_type", "draft"),
    [
        ("LatentForCausalLM", "latent", "LatentMTP"),
        ("LatentForCausalLM", "latent_v2", "LatentMTPTwo"),
        ("LatentForCausalLM", "something", ""),
        ("OtherForCausalLM", "other", ""),  # what it depends on is not in the text
        ("ThirdForCausalLM", "third", "ThirdMTP"),
        ("FourthForCausalLM", "fourth", ""),
    ],
)
def test_the_draft_of_a_relative_is_read_from_vllms_own_rule(tmp_path, architecture, model_type, draft):
    (tmp_path / "vllm/config").mkdir(parents=True)
    (tmp_path / "vllm/config/speculative.py").write_text(SPECULATIVE)
    assert relative_draft(open_source(tmp_path), architecture, model_type) == draft


@pytest.fixture
def drafting(tmp_path):
    """The vLLM of these tests with a draft for the latent relative."""
    root = engine(tmp_path / "drafting")
    models = root / "vllm/model_executor/models"
    row = '"LatentMTP": ("latent_mtp", "LatentMTP"),'
    (models / "registry.py").write_text(REGISTRY.replace("_VLLM_MODELS = {", f"_VLLM_MODELS = {{{row}"))
    (models / "latent_mtp.py").write_text("class LatentMTP: ...\n")
    (root / "vllm/config").mkdir()
    (root / "vllm/config.py").rename(root / "vllm/config/__init__.py")
    (root / "vllm/config/speculative.py").write_text(SPECULATIVE)
    return root


def test_an_overlays_draft_is_a_subclass_of_the_relatives_and_its_tiny_checkpoint_has_it(tmp_path, drafting, plugin):
    config = LATENT_CONFIG | {"num_nextn_predict_layers": 1}
    result = made(tmp_path, drafting, plugin, config, drafted(latent(), 2))
    assert not [f for f in result.findings if f.code == "F014"]
    text = result.files["vllm_harbour/models/harbour_mtp.py"]
    assert "class HarbourMTPModel(LatentMTP):" in text
    assert "from vllm_harbour.models.harbour import model_name" in text
    hook = result.files["vllm_harbour/models/harbour_mtp_config.py"]
    assert 'hf_config.update({"architectures": ["LatentForCausalLM"]})\n    hf_config = _before(hf_config)' in hook
    assert '"HarbourMTPModel"' in result.files["vllm_harbour/__init__.py"]
    tiny = result.files["tests/tiny_harbour.py"]
    assert '"model.layers.2.eh_proj.weight": (64, 128)' in tiny
    assert '"num_nextn_predict_layers": 1' in tiny.replace("\\", "")


def test_an_overlay_without_the_drafts_weights_gets_no_draft(tmp_path, drafting, plugin):
    result = made(tmp_path, drafting, plugin, LATENT_CONFIG | {"num_nextn_predict_layers": 1}, latent())
    assert "vllm_harbour/models/harbour_mtp.py" not in result.files
    assert [f for f in result.findings if f.code == "F014" and "no weights are numbered on" in f.message]


def test_a_relative_whose_draft_vllm_does_not_say_gets_none(tmp_path, vllm, plugin):
    config = LATENT_CONFIG | {"num_nextn_predict_layers": 1}
    result = made(tmp_path, vllm, plugin, config, drafted(latent(), 2))
    assert [f for f in result.findings if f.code == "F014" and "names no draft for LatentForCausalLM" in f.message]


def test_the_draft_of_an_overlay_that_gets_none_is_left_out_of_the_mapping(tmp_path, vllm, plugin):
    shapes = latent() | {"mtp.fc.weight": [64, 128]}
    table = weights(made(tmp_path, vllm, plugin, LATENT_CONFIG, shapes, base="LatentForCausalLM").files[MODEL])
    assert table["mtp.fc.weight"] is None
    assert [name for name, target in table.items() if target is None] == ["mtp.fc.weight"]


def small_of(config, shapes):
    made = shrink(config, tensors(shapes))
    return made.config, made.shapes


def test_a_width_that_is_a_multiple_of_the_main_one_stays_one_and_one_head_of_keys_is_seen():
    """Some models compute four times the hidden size and never read the field; Falcon's queries share one KV head."""
    config = {"hidden_size": 4544, "ffn_hidden_size": 18176, "num_attention_heads": 71, "num_hidden_layers": 2}
    shapes = {
        "transformer.h.0.mlp.dense_h_to_4h.weight": [18176, 4544],
        "transformer.h.0.self_attention.query_key_value.weight": [4672, 4544],
    }
    small, sizes_now = small_of(config, shapes)
    hidden = small["hidden_size"]
    assert small["ffn_hidden_size"] == 4 * hidden
    assert sizes_now["transformer.h.0.mlp.dense_h_to_4h.weight"] == (4 * hidden, hidden)
    assert sizes_now["transformer.h.0.self_attention.query_key_value.weight"] == (73 * (hidden // 71), hidden)


def test_rows_of_queries_stay_and_what_leads_from_a_tower_has_its_width():
    config = {
        "num_query_tokens": 32,
        "text_config": {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 2, "vocab_size": 5000},
        "qformer_config": {"hidden_size": 768, "encoder_hidden_size": 1408, "num_attention_heads": 12},
        "vision_config": {"hidden_size": 1408, "num_attention_heads": 16, "num_hidden_layers": 2},
        "id2label": {str(n): f"label {n}" for n in range(33)},
    }
    shapes = {"query_tokens": [1, 32, 768], "qformer.attention.key.weight": [768, 1408]}
    small, sizes_now = small_of(config, shapes)
    assert sizes_now["query_tokens"] == (1, 32, small["text_config"]["hidden_size"])
    assert sizes_now["qformer.attention.key.weight"][1] == small["vision_config"]["hidden_size"]
    assert small["qformer_config"]["encoder_hidden_size"] == small["vision_config"]["hidden_size"]
    assert len(small["id2label"]) == 33


def test_the_norm_before_a_projector_is_as_wide_as_what_comes_from_the_tower():
    """4096 is the language model's width and four patches of the tower; only what comes in is the tower's."""
    config = {
        "text_config": {"hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 2, "vocab_size": 5000},
        "vision_config": {
            "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 2,
        },
    }  # fmt: skip
    shapes = {"multi_modal_projector.layer_norm.weight": [4096], "multi_modal_projector.linear_1.weight": [4096, 4096]}
    small, sizes_now = small_of(config, shapes)
    inside = 4 * small["vision_config"]["hidden_size"]
    assert sizes_now["multi_modal_projector.layer_norm.weight"] == (inside,)
    assert sizes_now["multi_modal_projector.linear_1.weight"] == (small["text_config"]["hidden_size"], inside)
