"""Tensors against the config: each check with a failing case, and good checkpoints of three kinds without any."""

from __future__ import annotations

import json

import pytest
from checkpoint_maker import TINY, tiny, tiny_tensors, tokenizer, write_config, write_shard

from seatrial.checkpoint import read_card, read_checkpoint
from seatrial.core.finding import Severity

FP8 = {"quant_method": "fp8", "weight_block_size": [64, 64]}
MOE = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}  # fmt: skip


def moe_tensors(experts=4):
    tensors = {n: t for n, t in tiny_tensors().items() if ".mlp." not in n}
    for i in range(2):
        tensors[f"model.layers.{i}.mlp.gate.weight"] = ("BF16", (experts, 64))
        for e in range(experts):
            p = f"model.layers.{i}.mlp.experts.{e}."
            tensors |= {p + "gate_proj.weight": ("BF16", (32, 64)), p + "up_proj.weight": ("BF16", (32, 64))}
            tensors[p + "down_proj.weight"] = ("BF16", (64, 32))
    return tensors


def fp8_tensors():
    tensors = {}
    for name, (dtype, shape) in tiny_tensors().items():
        tensors[name] = ("F8_E4M3", shape) if "_proj" in name else (dtype, shape)
        if "_proj" in name:
            tensors[f"{name}_scale_inv"] = ("F32", tuple(-(-s // 64) for s in shape))
    return tensors


def card(tmp_path, tensors, **config):
    folder = tmp_path / "model"
    write_config(folder, **config)
    tokenizer(folder)
    write_shard(folder / "model.safetensors", tensors)
    return read_card(folder)


def codes(found):
    return {f.code for f in found.findings if f.severity is not Severity.INFO}


def without(tensors, *names):
    return {n: t for n, t in tensors.items() if not any(part in n for part in names)}


def test_good_checkpoints_of_three_kinds_have_no_finding(tmp_path):
    assert not codes(card(tmp_path / "dense", tiny_tensors()))
    assert not codes(card(tmp_path / "moe", moe_tensors(), **MOE))
    assert not codes(card(tmp_path / "fp8", fp8_tensors(), quantization_config=FP8))


def test_a_missing_layer_and_a_wrong_number_of_layers_are_told_apart(tmp_path):
    assert "C080" in codes(card(tmp_path / "gap", without(tiny_tensors(), "layers.0.")))
    assert "C081" in codes(card(tmp_path / "fewer", without(tiny_tensors(), "layers.1.")))


def test_one_tensor_missing_in_one_layer_is_named(tmp_path):
    tensors = {n.replace("layers.1.", f"layers.{i}."): t for i in range(1, 4) for n, t in tiny_tensors().items()}
    name = "model.layers.2.mlp.down_proj.weight"
    found = card(tmp_path, without(tensors, name), num_hidden_layers=4)
    assert [f.place for f in found.findings if f.code == "C085"] == [name]


@pytest.mark.parametrize(
    ("gone", "code"),
    [("layers.1.mlp.experts.2.up_proj", "C082"), ("experts.3.", "C084"), ("experts.0.", "C082")],
)
def test_missing_experts_are_a_gap_or_a_wrong_number(tmp_path, gone, code):
    assert code in codes(card(tmp_path, without(moe_tensors(), gone), **MOE))


def test_a_shape_that_contradicts_the_config_names_both(tmp_path):
    found = card(tmp_path, tiny_tensors(), num_key_value_heads=4)
    finding = next(f for f in found.findings if f.code == "C083")
    assert "[32, 64]" in finding.message
    assert "[64, 64]" in finding.message


def test_an_embedding_may_be_padded_but_not_short(tmp_path):
    assert "C083" in codes(card(tmp_path / "short", tiny_tensors(), vocab_size=300))
    padded = card(tmp_path / "padded", tiny_tensors(), vocab_size=250)
    assert any(f.code == "C090" for f in padded.findings)
    assert "C083" not in codes(padded)


def test_a_missing_head_is_an_error_unless_it_is_tied(tmp_path):
    tensors = without(tiny_tensors(), "lm_head")
    assert "C086" in codes(card(tmp_path / "untied", tensors))
    assert not codes(card(tmp_path / "tied", tensors, tie_word_embeddings=True))


def test_an_fp8_weight_without_its_scale_and_the_reverse_are_told_apart(tmp_path):
    name = "model.layers.1.mlp.up_proj.weight"
    bare = card(tmp_path / "bare", without(fp8_tensors(), f"{name}_scale_inv"), quantization_config=FP8)
    assert [f.place for f in bare.findings if f.code == "C092"] == [name]
    tensors = fp8_tensors()
    del tensors[name]
    alone = card(tmp_path / "alone", tensors, quantization_config=FP8)
    assert [f.place for f in alone.findings if f.code == "C093"] == [f"{name}_scale_inv"]


def test_a_scale_with_too_few_blocks_is_an_error(tmp_path):
    config = {"quant_method": "fp8", "weight_block_size": [32, 32]}
    assert "C094" in codes(card(tmp_path, fp8_tensors(), quantization_config=config))


def test_config_and_tensors_must_agree_on_whether_there_is_a_quantisation(tmp_path):
    assert "C095" in codes(card(tmp_path / "declared", tiny_tensors(), quantization_config=FP8))
    assert "C096" in codes(card(tmp_path / "silent", fp8_tensors()))


def test_an_excluded_module_that_is_quantised_is_reported(tmp_path):
    config = {**FP8, "modules_to_not_convert": ["model.layers.0.self_attn.q_proj"]}
    assert "C097" in codes(card(tmp_path, fp8_tensors(), quantization_config=config))


@pytest.mark.parametrize(
    ("prefix", "declares"),
    [
        ("model.layers.2.", {"num_nextn_predict_layers": 1}),
        ("mtp.layers.0.", {"mtp_num_hidden_layers": 1}),
        ("model.mtp_layers.0.", {"num_nextn_predict_layers": 1}),
    ],
)
def test_mtp_is_supported_only_with_its_weights(tmp_path, prefix, declares):
    tensors = {**tiny_tensors(), f"{prefix}self_attn.o_proj.weight": ("BF16", (64, 64))}
    there = card(tmp_path / "there", tensors, **declares).mtp
    assert (there.status, there.declared, there.found, there.tensors) == ("supported", 1, 1, 1)
    gone = card(tmp_path / "gone", tiny_tensors(), **declares)
    assert gone.mtp.status == "checkpoint-missing"
    assert "C060" in codes(gone)
    plain = card(tmp_path / "plain", tiny_tensors())
    assert plain.mtp.status == "not-applicable"
    assert plain.mtp.field


def test_fewer_mtp_layers_than_declared_are_counted(tmp_path):
    tensors = {**tiny_tensors(), "mtp.layers.0.o_proj.weight": ("BF16", (64, 64))}
    found = card(tmp_path, tensors, num_nextn_predict_layers=3)
    assert (found.mtp.declared, found.mtp.found) == (3, 1)
    assert "C061" in codes(found)


def test_eos_beyond_the_vocabulary_and_a_tokenizer_too_large_are_found(tmp_path):
    folder = tiny(tmp_path / "eos")
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 256]}')
    assert "C068" in codes(read_card(folder))
    folder = tiny(tmp_path / "large")
    tokenizer(folder, size=300)
    found = read_card(folder)
    assert "C067" in codes(found)
    assert found.tokenizer.vocabulary == 300


def test_a_missing_tokenizer_is_a_warning(tmp_path):
    folder = tiny(tmp_path / "bare")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    assert "C066" in codes(read_card(folder))


def test_remote_code_names_its_files_and_those_that_are_absent(tmp_path):
    folder = tiny(tmp_path / "remote", auto_map={"AutoModel": "modeling_x.X", "AutoConfig": "org/repo--conf.C"})
    found = read_card(folder)
    assert found.architecture.remote_code.files == ("modeling_x.py",)
    assert {"C050", "C051"} <= codes(found)
    (folder / "modeling_x.py").write_text("raise SystemExit('never run')")
    assert "C051" not in codes(read_card(folder))


def test_a_vision_model_without_processor_or_tower_is_reported(tmp_path):
    config = {
        "architectures": ["XForConditionalGeneration"], "model_type": "x", "image_token_id": 999,
        "text_config": TINY, "vision_config": {"hidden_size": 32, "patch_size": 14, "num_hidden_layers": 1},
    }  # fmt: skip
    folder = tmp_path / "vision"
    write_config(folder, config)
    write_shard(folder / "model.safetensors", tiny_tensors())
    found = read_card(folder)
    assert {"C063", "C064", "C065"} <= codes(found)
    assert found.architecture.text_section == "text_config"
    assert found.multimodal.modalities == ("image",)


def test_unknown_nesting_is_reported_and_not_guessed(tmp_path):
    folder = tmp_path / "odd"
    write_config(folder, {"architectures": ["X"], "brain_config": {"hidden_size": 8, "num_hidden_layers": 2}})
    found = read_card(folder)
    assert found.architecture.hidden_size is None
    assert any(f.code == "C006" and "brain_config" in f.place for f in found.findings)


def test_a_field_nobody_knows_is_listed(tmp_path):
    found = read_card(tiny(tmp_path / "new", flux_capacitor=1.21))
    assert found.unexplained == ("flux_capacitor",)


def test_two_quantisation_descriptions_that_disagree_are_reported(tmp_path):
    folder = tiny(tmp_path / "two", quantization_config=FP8)
    (folder / "hf_quant_config.json").write_text(
        json.dumps({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}})
    )
    assert "C056" in codes(read_card(folder))


@pytest.mark.parametrize(
    ("file", "content", "method", "scheme"),
    [
        ("quant_model_description.json",
         {"model_quant_type": "W8A8", "model.layers.0.mlp.up_proj.weight": "W8A8", "lm_head.weight": "FLOAT"},
         "ascend", "w8a8"),
        ("quantize_config.json", {"bits": 4, "group_size": 128}, "gptq", "gptq int4 g128"),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 64}, "awq", "awq int4 g64"),
    ],
)  # fmt: skip
def test_descriptions_beside_the_config_are_read(tmp_path, file, content, method, scheme):
    write_config(tmp_path / "q")
    (tmp_path / "q" / file).write_text(json.dumps(content))
    quantization = read_card(tmp_path / "q").quantization
    assert (quantization.method, quantization.scheme, quantization.files) == (method, scheme, (file,))


@pytest.mark.parametrize(
    ("config", "scheme"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq int4 g128"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bnb nf4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb int8"),
        ({"quant_method": "compressed-tensors",
          "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "int",
                                                                     "strategy": "channel"}}}}, "int8 per-channel"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
    ],
)  # fmt: skip
def test_spellings_of_quantisation_are_translated(tmp_path, config, scheme):
    write_config(tmp_path / "q", quantization_config=config)
    assert read_card(tmp_path / "q").quantization.scheme == scheme


def test_packed_weights_count_what_they_hold_and_scales_nothing(tmp_path):
    tensors = {
        "model.embed_tokens.weight": ("BF16", (256, 64)),
        "model.layers.0.mlp.up_proj.weight": ("U8", (128, 32)),
        "model.layers.0.mlp.up_proj.weight_scale": ("F8_E4M3", (128, 4)),
        "model.layers.0.mlp.up_proj.weight_scale_2": ("F32", ()),
        "model.layers.0.mlp.gate_proj.qweight": ("I32", (8, 128)),
    }
    config = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    parameters = card(tmp_path, tensors, quantization_config=config).parameters
    assert parameters.stored.value == 256 * 64 + 128 * 32 + 128 * 4 + 1 + 8 * 128
    assert parameters.total.value == 256 * 64 + 128 * 64 + 64 * 128


def test_parameters_equal_the_sum_over_the_tensors(tmp_path):
    checkpoint = read_checkpoint(tiny(tmp_path / "good"))
    total = 0
    for tensor in checkpoint.tensors:
        size = 1
        for n in tensor.shape:
            size *= n
        total += size
    assert checkpoint.card.parameters.total.value == checkpoint.card.parameters.stored.value == total
    assert checkpoint.card.weights.nbytes == sum(t.nbytes for t in checkpoint.tensors)


def test_the_estimate_of_a_config_equals_the_count_of_its_weights(tmp_path):
    counted = read_card(tiny(tmp_path / "whole")).parameters.total.value
    write_config(tmp_path / "only")
    assert read_card(tmp_path / "only").parameters.total.value == counted
    whole = card(tmp_path / "moe", moe_tensors(), **MOE).parameters
    write_config(tmp_path / "moe-only", **MOE)
    estimated = read_card(tmp_path / "moe-only").parameters
    assert (estimated.total.value, estimated.active.value) == (whole.total.value, whole.active.value)


def test_active_parameters_count_the_chosen_experts_only(tmp_path):
    parameters = card(tmp_path, moe_tensors(), **MOE).parameters
    assert parameters.total.value - parameters.active.value == 2 * 2 * 3 * 32 * 64  # 2 layers x 2 idle experts


def test_no_total_is_given_where_a_shard_could_not_be_read(tmp_path):
    folder = tiny(tmp_path / "bad")
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    parameters = read_card(folder).parameters
    assert parameters.total.value is None
    assert parameters.total.note


def packed(bits):
    """TINY's gate projection in GPTQ's int32 words."""
    tensors = {n: t for n, t in tiny_tensors().items() if n != "model.layers.0.mlp.gate_proj.weight"}
    return {**tensors, "model.layers.0.mlp.gate_proj.qweight": ("I32", (64 * bits // 32, 128))}


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_packed_words_are_counted_by_their_bits(tmp_path, bits):
    plain = card(tmp_path / "plain", tiny_tensors()).parameters.total.value
    found = card(tmp_path, packed(bits), quantization_config={"quant_method": "gptq", "bits": bits, "group_size": 64})
    assert found.parameters.total.value == plain


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {
            "a": {"targets": ["x"], "weights": {"num_bits": 4, "type": "int", "group_size": 32}},
            "b": {"targets": ["y"], "weights": {"num_bits": 8, "type": "int", "group_size": 32}}}}},
    ],
)  # fmt: skip
def test_packed_words_of_unknown_bits_make_the_count_unknown(tmp_path, description):
    parameters = card(tmp_path, packed(4), **description).parameters
    assert parameters.total.value is None
    assert "gate_proj.qweight is packed" in parameters.total.note
    assert parameters.stored.value is not None


def test_ends_and_defaults_stand_where_the_nested_sections_and_vllm_have_them(tmp_path):
    folder = tiny(tmp_path / "m")
    (folder / "generation_config.json").write_text('{"do_sample": true, "min_p": 0.1, "top_k": 20}')
    top = {k: v for k, v in TINY.items() if k in ("architectures",)}
    text = {**TINY, "eos_token_id": 7, "pad_token_id": 9}
    write = {**top, "model_type": "qwen2_5_omni", "thinker_config": {
        "model_type": "qwen2_5_omni_thinker", "video_token_index": 5, "image_token_index": 4,
        "vision_config": {"depth": 1, "hidden_size": 8, "patch_size": [14, 14]}, "text_config": text}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(write))
    found = read_card(folder)
    assert (found.tokenizer.eos, found.tokenizer.bos, found.tokenizer.pad) == ((7,), 1, 9)
    assert found.tokenizer.defaults == {"min_p": 0.1, "top_k": 20.0}
    assert found.multimodal.tokens == {"image_token_index": 4, "video_token_index": 5}
    assert found.multimodal.modalities == ("image", "video")
    assert found.multimodal.towers[0].patch_size == 14
    assert "C005" not in codes(found)


@pytest.mark.parametrize(
    ("top", "vision", "side"),
    [
        ({}, {"spatial_merge_size": 2}, 28),
        ({"spatial_merge_size": 2}, {}, 28),
        ({}, {"pixel_shuffle_ratio": 0.5}, None),
    ],
)
def test_pixels_per_token_are_said_only_where_the_merge_is_known(tmp_path, top, vision, side):
    vision = {"hidden_size": 8, "num_hidden_layers": 1, "patch_size": 14, **vision}
    found = card(tmp_path, tiny_tensors(), vision_config=vision, **top)
    assert found.multimodal.towers[0].pixels_per_token == side
    told = "is for the processor to say" if side is None else "(width/28) x (height/28)"
    assert told in found.multimodal.needs[0]


def test_a_multimodal_models_head_is_tied_as_the_whole_says(tmp_path):
    nested = {"text_config": {**TINY, "tie_word_embeddings": False}, "tie_word_embeddings": True}
    towers = {"vision_config": {"hidden_size": 8, "num_hidden_layers": 1}}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "config.json").write_text(json.dumps({**nested, **towers}))
    (tmp_path / "b" / "config.json").write_text(json.dumps(nested))
    assert read_card(tmp_path / "a").architecture.tied_embeddings is True
    assert read_card(tmp_path / "b").architecture.tied_embeddings is False


@pytest.mark.parametrize("kind", ["zamba2", "hrm_text", "longcat_flash", "whisper"])
def test_a_family_of_another_form_has_no_estimate_from_its_config(tmp_path, kind):
    write_config(tmp_path / "m", model_type=kind)
    total = read_card(tmp_path / "m").parameters.total
    assert total.value is None
    assert "no formula for" in total.note


def test_what_runs_beside_attention_is_in_the_estimate(tmp_path):
    mamba = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_d_conv": 4}
    write_config(tmp_path / "alone", **mamba)
    write_config(tmp_path / "beside", model_type="falcon_h1", **mamba)
    alone, beside = (read_card(tmp_path / name).parameters for name in ("alone", "beside"))
    assert any("mamba2" in line for line in beside.formula)
    # z, x, B, C and dt in, the convolution with its bias, A, D and dt's bias, the norm, and out; the q and k norms go.
    each = 64 * (2 * 32 + 32 + 4) + (32 + 32) * 5 + 3 * 4 + 32 + 32 * 64
    assert beside.total.value - alone.total.value == 2 * (each - 2 * 16)


@pytest.mark.parametrize(("rows", "good"), [(2, True), (3, False)])
def test_modelopts_block_scales_are_whole_blocks_in_four_dimensions(tmp_path, rows, good):
    tensors = {n: t for n, t in tiny_tensors().items() if n != "model.layers.0.mlp.gate_proj.weight"}
    tensors["model.layers.0.mlp.gate_proj.weight"] = ("F8_E4M3", (256, 128))
    tensors["model.layers.0.mlp.gate_proj.weight_scale"] = ("F32", (rows, 1, 1, 1))
    config = {"quant_method": "modelopt", "quant_algo": "FP8_PB_WO", "exclude_modules": ["lm_head"]}
    found = card(tmp_path, tensors, quantization_config=config, intermediate_size=256)
    assert found.quantization.block_size == (128, 128)
    assert ("C094" not in codes(found)) is good
    # 256 inputs of the down projection are two blocks.
    checks = {c.size: c for c in found.tensor_parallel}
    assert not any("intermediate" in p for p in checks[2].problems)
    assert any("256/4 = 64 is no multiple of 128" in p for p in checks[4].problems)
